import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../devnet/main.ts', import.meta.url))

export interface Devnet {
  url: string
  stop(): Promise<void>
}

/** Starts the local chain as a process of its own and waits until it answers. It ends when this process ends. */
export async function startDevnet(
  options: { folder?: string; port?: number } = {},
): Promise<Devnet> {
  const child = spawn(
    process.execPath,
    [
      MAIN,
      '--port',
      String(options.port ?? 0),
      '--exit-with-parent',
      ...(options.folder === undefined ? [] : ['--data', options.folder]),
    ],
    { stdio: ['pipe', 'pipe', 'pipe'], detached: true },
  )
  const complaints: string[] = []
  createInterface(child.stderr).on('line', (line) => complaints.push(line))
  const ended = once(child, 'exit')
  const first = await Promise.race([
    once(createInterface(child.stdout), 'line').then(([line]) => String(line)),
    ended.then(() => undefined),
  ])
  if (first === undefined)
    throw new Error(`The devnet did not start:\n${complaints.slice(-20).join('\n')}`)
  const { url } = JSON.parse(first) as { url: string }
  return {
    url,
    async stop() {
      child.kill('SIGTERM')
      await ended
    },
  }
}
