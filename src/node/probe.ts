/**
 * Exits with 0 when the service of this machine responds, else with 1: for a container's health check, where there is neither a shell
 * nor curl. It asks for liveness. A process whose database is away must not be restarted for it.
 */
const { PORT = '8787', HOST = '127.0.0.1' } = process.env
const TIMEOUT_MS = 2_000

const host = HOST === '0.0.0.0' || HOST === '::' ? '127.0.0.1' : HOST
const url = `http://${host.includes(':') ? `[${host}]` : host}:${PORT}/health`
const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(
  () => undefined,
)
process.exitCode = response?.ok === true ? 0 : 1
