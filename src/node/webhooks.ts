import { lookup } from 'node:dns/promises'
import { type ClientRequest, Agent as HttpAgent, request as requestHttp } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { DeliveryError, type ResolveHost, type SendDelivery } from '../webhooks/services.ts'

/** What is read of a response, at most: nothing of it is used but its status and headers. */
const MAX_RESPONSE_BYTES = 8_192
const MAX_HEADER_BYTES = 16_384
const RESOLVE_TIMEOUT_MS = 3_000

/** Looks a name up as every other program of this machine does. IPv4 first: not every network has IPv6. */
export const resolveHost: ResolveHost = async (host) => {
  if (isIP(host) !== 0) return [host]
  const found = lookup(host, { all: true, order: 'ipv4first' }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOTFOUND' || error.code === 'ENODATA') return []
      throw error
    },
  )
  return (await withTimeout(found, RESOLVE_TIMEOUT_MS)).map(({ address }) => address)
}

async function withTimeout<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeliveryError('no response in time')), ms)
  })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}

/**
 * Opens the sender of deliveries. Connects to the address that was checked and no other one, with the name of the target in SNI, certificate
 * and Host. Agents of its own: no connection is kept, and no proxy of the environment is used. `ca` is for tests.
 */
export function openSender({ ca }: { ca?: string } = {}): SendDelivery {
  const http = new HttpAgent({ keepAlive: false })
  const https = new HttpsAgent({ keepAlive: false, ...(ca !== undefined && { ca }) })
  return ({ url, host, port }, address, { headers, body, timeoutMs }) =>
    new Promise((resolve, reject) => {
      const isHttps = url.protocol === 'https:'
      const options = {
        host,
        port,
        path: `${url.pathname}${url.search}`,
        method: 'POST',
        maxHeaderSize: MAX_HEADER_BYTES,
        headers: {
          ...headers,
          host: url.host,
          'content-length': Buffer.byteLength(body),
        },
        lookup: pinned(address),
      }
      const request: ClientRequest = isHttps
        ? requestHttps({ ...options, agent: https, ...(isIP(host) === 0 && { servername: host }) })
        : requestHttp({ ...options, agent: http })
      const timer = setTimeout(
        () => request.destroy(new DeliveryError('no response in time')),
        timeoutMs,
      )
      request.once('close', () => {
        clearTimeout(timer)
        // Also of a response that is none, as one that changes the protocol.
        reject(new DeliveryError('no response'))
      })
      request.on('error', (error) => reject(explained(error)))
      request.once('response', (response) => {
        resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'] })
        let bytes = 0
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length
          if (bytes > MAX_RESPONSE_BYTES) request.destroy()
        })
        response.on('error', () => {})
      })
      request.end(body)
    })
}

/** A look-up that has one result, whatever is looked up. */
function pinned(address: string): LookupFunction {
  const family = isIP(address)
  return (_, { all }, done) =>
    all === true ? done(null, [{ address, family }]) : done(null, address, family)
}

/** Codes that say nothing of this machine's network. */
const CODES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection closed',
  EHOSTUNREACH: 'out of reach',
  ENETUNREACH: 'out of reach',
  ETIMEDOUT: 'no response in time',
}

function explained(error: Error & { code?: unknown }): DeliveryError {
  if (error instanceof DeliveryError) return error
  const code = String(error.code ?? '')
  const isTls =
    /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_|SELF_SIGNED|UNABLE_TO|HOSTNAME_MISMATCH|EPROTO)/.test(code)
  return new DeliveryError(CODES[code] ?? (isTls ? 'TLS failed' : 'no response'))
}
