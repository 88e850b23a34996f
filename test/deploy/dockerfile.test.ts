import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, cpSync, existsSync, globSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { emptyFolder, follow, ROOT } from '../node/entry.ts'
import { freshDatabase } from '../support/service.ts'

const run = promisify(execFile)

interface Instruction {
  name: string
  text: string
}

/** One stage of the build, as files under a folder that stands for its root. */
interface Stage {
  root: string
  workdir: string
  env: Record<string, string>
  user: string
  entrypoint: string[]
  command: string[]
  health: string[]
}

const lines = readFileSync(join(ROOT, 'Dockerfile'), 'utf8')
const instructions: Instruction[] = lines
  .replaceAll(/\\\n/g, ' ')
  .split('\n')
  .filter((line) => line.trim() !== '' && !line.startsWith('#'))
  .map((line) => {
    const [name = ''] = line.split(' ', 1)
    return { name, text: line.slice(name.length).trim() }
  })

/** What of the repository a build is given. */
const context = readFileSync(join(ROOT, '.dockerignore'), 'utf8')
  .split('\n')
  .filter((line) => line.startsWith('!'))
  .map((line) => line.slice(1))

/** Repeats the steps of the Dockerfile on this machine: same files, same commands, without the base images. */
async function rehearse(): Promise<Stage> {
  const stages = new Map<string, Stage>()
  let stage: Stage | undefined
  for (const { name, text } of instructions) {
    if (name === 'FROM') {
      stage = openStage()
      stages.set(/ AS (\w+)$/.exec(text)?.[1] ?? '', stage)
    } else await (STEPS[name] ?? unknown(name))(stage as Stage, text, stages)
  }
  return stage as Stage
}

function openStage(): Stage {
  const root = emptyFolder()
  chmodSync(root, 0o755)
  const none = { env: {}, user: '', entrypoint: [], command: [], health: [] }
  return { root, workdir: root, ...none }
}

type Step = (stage: Stage, text: string, stages: Map<string, Stage>) => void | Promise<void>

const STEPS: Readonly<Record<string, Step>> = {
  WORKDIR(stage, text) {
    stage.workdir = join(stage.root, text)
    mkdirSync(stage.workdir, { recursive: true })
  },
  COPY(stage, text, stages) {
    const from = /^--from=(\w+) /.exec(text)?.[1]
    const paths = text.replace(/^--\S+ /, '').split(' ')
    const target = paths.pop() ?? ''
    for (const path of paths) {
      if (from === undefined) expect(context).toContain(path)
      const source = join(from === undefined ? ROOT : String(stages.get(from)?.root), path)
      const to = target.endsWith('/') || target === '.' ? join(target, basename(path)) : target
      cpSync(source, join(stage.workdir, to), { recursive: true, verbatimSymlinks: true })
    }
  },
  async RUN(stage, text) {
    await run('sh', ['-c', text], { cwd: stage.workdir, env: buildEnv(), maxBuffer: 1e8 })
  },
  ENV(stage, text) {
    for (const pair of text.split(' ')) {
      const [name = '', value = ''] = pair.split('=')
      stage.env[name] = value
    }
  },
  USER(stage, text) {
    stage.user = text
  },
  EXPOSE() {},
  HEALTHCHECK(stage, text) {
    stage.health = JSON.parse(text.slice(text.indexOf(' CMD ') + 5))
  },
  ENTRYPOINT(stage, text) {
    stage.entrypoint = JSON.parse(text)
  },
  CMD(stage, text) {
    stage.command = JSON.parse(text)
  },
}

function unknown(name: string): Step {
  return () => expect.fail(`the rehearsal does not know ${name}`)
}

/** The Node of the tests is of the release that the first stage has; packages come from the cache where they are in it. */
function buildEnv(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: process.env.HOME, npm_config_prefer_offline: 'true' }
}

describe('the Dockerfile', () => {
  let image: Stage
  let seconds = 0
  beforeAll(async () => {
    const began = performance.now()
    image = await rehearse()
    seconds = (performance.now() - began) / 1_000
  }, 600_000)

  /** A command of the image on this machine: its paths lead into the rehearsed root. */
  const command = (line: readonly string[]) =>
    line.map((part) => (part.startsWith('/app/') ? join(image.root, part) : part))
  const identity = () => {
    const [uid, gid] = image.user.split(':').map(Number)
    return process.getuid?.() === 0 ? { uid, gid } : {}
  }
  const isHealthy = async (port: unknown) => {
    const [program = '', ...args] = command(image.health)
    const env = { ...image.env, PORT: String(port) }
    const probe = run(program, args, { cwd: image.workdir, env, ...identity() })
    return probe.then(
      () => true,
      () => false,
    )
  }

  it('has no development package, no script of an install and the page', async () => {
    const { stdout } = await run('du', ['-sm', image.workdir])
    console.log(`rehearsed in ${seconds.toFixed(0)} s; /app has ${Number.parseInt(stdout, 10)} MB`)
    for (const name of ['vitest', 'wrangler', 'vite', '@stacks/clarinet-sdk'])
      expect(existsSync(join(image.workdir, 'node_modules', name))).toBe(false)
    expect(existsSync(join(image.workdir, 'build/site/index.html'))).toBe(true)
    expect(existsSync(join(image.workdir, 'test'))).toBe(false)
  })

  it('needs no library that the last base image lacks', async () => {
    const base = /^(lib(c|m|dl|pthread|rt|stdc\+\+|gcc_s|atomic)\.so|linux-vdso|ld-linux)/
    const binaries = [
      join(image.workdir, 'node_modules/.bin/node'),
      ...globSync('node_modules/secp256k1/prebuilds/linux-x64/*glibc.node', {
        cwd: image.workdir,
      }).map((path) => join(image.workdir, path)),
    ]
    for (const binary of binaries) {
      const { stdout } = await run('ldd', [binary])
      const names = stdout.split('\n').map((line) => basename(line.trim().split(' ')[0] ?? ''))
      expect(names.filter((name) => name !== '' && !base.test(name))).toEqual([])
    }
  })

  it('starts as another user, writes no file, and is healthy', async () => {
    expect(image.user).toMatch(/^[1-9]\d*:[1-9]\d*$/)
    expect(statSync(image.workdir).mode & 0o022).toBe(0)
    const [program = '', ...args] = command([...image.entrypoint, ...image.command])
    const devnetUrl = inject('devnetUrl')
    const entry = follow(
      program,
      args,
      {
        ...image.env,
        HOST: '127.0.0.1',
        PORT: '0',
        DATABASE_URL: await freshDatabase('Postgres'),
        STACKS_API_URL: devnetUrl,
        QUOTE_URL: `${devnetUrl}/quote`,
        ENCRYPTION_KEY: randomBytes(32).toString('base64'),
        TMPDIR: '/nowhere',
      },
      image.workdir,
      identity(),
    )
    const { port } = await entry.event('listening')
    expect((await fetch(`http://127.0.0.1:${port}/ready`)).status).toBe(200)
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toContain('<script')
    expect(await isHealthy(port)).toBe(true)
    entry.child.kill('SIGTERM')
    expect(await entry.ended).toEqual({ code: 0, signal: null })
    expect(await isHealthy(port)).toBe(false)
  })

  it('pins its release line of Node to the one that the tests run on', () => {
    const [major] = process.versions.node.split('.')
    expect(lines).toMatch(new RegExp(`^FROM node:${major}-`, 'm'))
  })
})
