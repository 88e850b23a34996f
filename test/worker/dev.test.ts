import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OFFLINE, ROOT } from './workerd.ts'

const run = promisify(execFile)

describe('npm run dev:worker', () => {
  let url: string
  let output = ''
  let child: ReturnType<typeof spawn>
  beforeAll(async () => {
    const port = await freePort()
    url = `http://127.0.0.1:${port}`
    child = spawn(process.execPath, [join(ROOT, 'src/node/dev-worker.ts')], {
      cwd: ROOT,
      env: { ...process.env, ...OFFLINE, PORT: String(port) },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const welcome = new Promise<void>((resolve) => {
      for (const stream of [child.stdout, child.stderr])
        stream?.on('data', (chunk: Buffer) => {
          output += chunk
          if (output.includes('Stop it:')) resolve()
        })
    })
    const ended = once(child, 'exit').then(() => {
      throw new Error(`it ended:\n${output}`)
    })
    ended.catch(() => {})
    await Promise.race([welcome, ended])
  }, 180_000)
  afterAll(() => child.kill('SIGKILL'))

  it('says where the worker is and what to try', () => {
    expect(output).toContain(`Latchkey in workerd on ${url}`)
    expect(output).toContain(`LATCHKEY_URL=${url} npm run demo`)
  })

  it('lets the demo of the command line tell its whole story', async () => {
    const { stdout } = await run(process.execPath, [join(ROOT, 'src/cli/main.ts'), 'demo'], {
      env: { ...process.env, LATCHKEY_URL: url },
    })
    expect(stdout).toContain('The key is dead')
    expect(stdout).not.toContain('✗')
  })

  it('serves /docs from its own files', async () => {
    const page = await fetch(`${url}/docs`)
    expect(await page.text()).toContain('id="createApiKey"')
    for (const [file, type] of [
      ['try.js', 'text/javascript; charset=utf-8'],
      ['style.css', 'text/css; charset=utf-8'],
    ]) {
      const response = await fetch(`${url}/docs/${file}`)
      expect(response.status).toBe(200)
      expect(response.headers.get('content-type')).toBe(type)
      expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
      expect((await response.arrayBuffer()).byteLength).toBeGreaterThan(1_000)
    }
    for (const path of ['/index.html', '/package.json', '/try.js', '/docs/package.json'])
      expect((await fetch(url + path)).status, path).toBe(404)
  })

  it('takes everything down on Ctrl-C', async () => {
    const ended = once(child, 'exit')
    child.kill('SIGINT')
    expect(await ended).toEqual([0, null])
    const chain = /Stacks chain at (\S+)/.exec(output)?.[1] ?? ''
    for (const gone of [url, chain]) await expect(fetch(gone)).rejects.toThrow()
  })
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
