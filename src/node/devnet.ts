import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const KEPT_COMPLAINTS = 20
const MAIN = fileURLToPath(new URL('../devnet/main.ts', import.meta.url))

export interface DevnetProcess {
  url: string
  stop(): Promise<void>
}

/**
 * Starts the local chain as a process of its own and waits until it answers. It ends when this process ends.
 * `onLost` is called when it ends before that.
 */
export async function startDevnetProcess(
  options: { folder?: string; port?: number; onLost?: () => void } = {},
): Promise<DevnetProcess> {
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
  createInterface(child.stderr).on('line', (line) => {
    if (complaints.push(line) > KEPT_COMPLAINTS) complaints.shift()
  })
  const ended = once(child, 'exit')
  const first = await Promise.race([
    once(createInterface(child.stdout), 'line').then(([line]) => String(line)),
    ended.then(() => undefined),
  ])
  if (first === undefined) throw new Error(`The devnet did not start:\n${complaints.join('\n')}`)
  const { url } = JSON.parse(first) as { url: string }
  let isStopping = false
  child.once('exit', () => {
    if (!isStopping) options.onLost?.()
  })
  return {
    url,
    async stop() {
      isStopping = true
      child.kill('SIGTERM')
      await ended
    },
  }
}
