import { execFile } from 'node:child_process'
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { DCLinter } from 'dclint'
import { validate } from 'dockerfile-utils'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { emptyFolder, ROOT } from '../node/entry.ts'

const run = promisify(execFile)
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

/** What dclint finds; its types need a module resolution of their own. */
interface Linted {
  messages: { message: string }[]
}

/** The manifest with one change, which must be there to be made. */
function changed(text: string, [from, to]: readonly [string, string]): string {
  expect(text).toContain(from)
  return text.replace(from, to)
}

describe('the Dockerfile is one by the rules of its language', () => {
  it('as it is', () => {
    expect(validate(read('Dockerfile'))).toEqual([])
  })

  it.each([
    ['EXPOSE 8787', 'EXPOSE'],
    ['COPY src src', 'COPY src'],
    ['USER 65532:65532', 'USR 65532:65532'],
    ['--timeout=3s', '--timeOut=3s'],
    ['CMD ["src/node.ts"]', 'MAINTAINER latchkey'],
  ] as const)('and not with %j as %j', (from, to) => {
    expect(validate(changed(read('Dockerfile'), [from, to]))).not.toEqual([])
  })
})

describe('deploy/compose.yaml is one by the schema of the Compose specification', () => {
  /** Orders and quotes are taste. An image that is built here has a name without a version. */
  const TASTE = [
    'service-keys-order',
    'services-alphabetical-order',
    'require-quotes-in-ports',
    'no-build-and-image',
    'service-image-require-explicit-tag',
  ]
  const rules = Object.fromEntries(TASTE.map((name) => [name, 0 as const]))

  async function faultsOf(text: string): Promise<string[]> {
    const file = join(emptyFolder(), 'compose.yaml')
    writeFileSync(file, text)
    const linter = new DCLinter({ rules, quiet: false, debug: false, exclude: [] })
    const results = await linter.lintFiles([file], false)
    return results.flatMap(({ messages }: Linted) => messages.map(({ message }) => message))
  }

  it('as it is', async () => {
    expect(await faultsOf(read('deploy/compose.yaml'))).toEqual([])
  })

  it.each([
    ['read_only: true', 'readonly: true'],
    ['interval: 5s', 'interval: [5]'],
    ['condition: service_healthy', 'condition: healthy'],
    ['127.0.0.1:8787:8787', '8787:8787'],
    ['name: latchkey\n', 'name: latchkey\nname: other\n'],
  ] as const)('and not with %j as %j', async (from, to) => {
    expect(await faultsOf(changed(read('deploy/compose.yaml'), [from, to]))).not.toEqual([])
  })
})

describe("deploy/kubernetes.yaml has the members of Kubernetes' API, and no others", () => {
  const TYPES: Readonly<Record<string, string>> = {
    'v1 ConfigMap': 'core/v1',
    'v1 Service': 'core/v1',
    'batch/v1 Job': 'batch/v1',
    'apps/v1 Deployment': 'apps/v1',
    'policy/v1 PodDisruptionBudget': 'policy/v1',
  }

  const literals = (text: string) =>
    parseAllDocuments(text).map((document, at) => {
      const manifest = document.toJS() as { apiVersion: string; kind: string }
      const { apiVersion, kind } = manifest
      const types = TYPES[`${apiVersion} ${kind}`] ?? expect.fail(`${apiVersion} ${kind}`)
      return `export const _${at}: import('kubernetes-types/${types}').${kind} = ${JSON.stringify(manifest)}`
    })

  /** Compiles manifests as literals of their types, for which an unknown member is an excess property. Returns the files with faults. */
  async function faulty(texts: Record<string, string>): Promise<string[]> {
    const folder = emptyFolder()
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    const files = Object.keys(texts).map((name) => `${name}.ts`)
    for (const [name, text] of Object.entries(texts))
      writeFileSync(join(folder, `${name}.ts`), literals(text).join('\n'))
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
    const options = '--noEmit --strict --ignoreConfig --module preserve --types'.split(' ')
    const tsc = join(ROOT, 'node_modules/.bin/tsc')
    const { stdout } = await run(tsc, [...options, '', ...files], { cwd: folder }).catch((e) => e)
    return [...new Set([...stdout.matchAll(/^(\w+)\.ts\(/gm)].map(([, name]) => name))].sort()
  }

  it('as it is, and not with one that is misspelt or of another type', {
    timeout: 180_000,
  }, async () => {
    const text = read('deploy/kubernetes.yaml')
    const wrong = {
      misspelt: changed(text, ['readOnlyRootFilesystem', 'readonlyRootFilesystem']),
      mistyped: changed(text, ['replicas: ', 'replicas: number ']),
      unknown: changed(text, ['readinessProbe:', 'readynessProbe:']),
    }
    expect(await faulty({ right: text, ...wrong })).toEqual(Object.keys(wrong).sort())
  })
})
