import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const MAX_ERROR_LINES = 20
const MAIN = fileURLToPath(new URL('../devnet/main.ts', import.meta.url))

export interface DevnetProcess {
  url: string
  stop(): Promise<void>
}

/**
 * Starts the local chain as a child process and waits until it is ready. It ends with this process; `onLost` is called
 * when it ends earlier.
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
  const errorLines: string[] = []
  createInterface(child.stderr).on('line', (line) => {
    if (errorLines.push(line) > MAX_ERROR_LINES) errorLines.shift()
  })
  const ended = once(child, 'exit')
  const first = await Promise.race([
    once(createInterface(child.stdout), 'line').then(([line]) => String(line)),
    ended.then(() => undefined),
  ])
  if (first === undefined) throw new Error(`The devnet did not start:\n${errorLines.join('\n')}`)
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
