import { type IncomingMessage, request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import type { PeerFetch, PeerResponse } from '../wire/response.ts'

/** No response of a node or a quote service is larger. */
const MAX_BYTES = 8 * 2 ** 20

/**
 * As `fetch`, of node:http: the streams, events and headers of the platform's own cost three times its CPU, and an execute asks a node
 * five times. It reads a response whole, asks for no compression, follows no redirect, and sends nothing twice.
 */
export const fetchPeer: PeerFetch = async (url, init = {}) => {
  const { signal } = init
  signal?.throwIfAborted()
  return send(url, init)
}

function send(
  url: string,
  { method = 'GET', headers, body, signal }: RequestInit,
): Promise<PeerResponse> {
  return new Promise((resolve, reject) => {
    const bytes = bytesOf(body)
    const request = url.startsWith('https:') ? requestHttps : requestHttp
    const sent = request(url, {
      method,
      headers: {
        ...(headers as Record<string, string>),
        ...(bytes !== undefined && { 'Content-Length': bytes.byteLength }),
      },
    })
    const abort = () => sent.destroy(signal?.reason)
    const settle = (settled: () => void) => {
      signal?.removeEventListener('abort', abort)
      settled()
    }
    signal?.addEventListener('abort', abort, { once: true })
    sent.once('response', (response) => {
      read(response).then(
        (text) => settle(() => resolve(responseOf(response, text))),
        (error) => settle(() => reject(signal?.aborted ? signal.reason : error)),
      )
    })
    // Not once: destroying it after its response emits another one.
    sent.on('error', (error) => settle(() => reject(error)))
    sent.end(bytes)
  })
}

function bytesOf(body: RequestInit['body']): Uint8Array | undefined {
  if (body == null) return undefined
  return typeof body === 'string' ? Buffer.from(body) : (body as Uint8Array)
}

async function read(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of response) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new Error(`The response is larger than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

function responseOf({ statusCode = 0, headers }: IncomingMessage, text: string): PeerResponse {
  return {
    status: statusCode,
    ok: statusCode >= 200 && statusCode < 300,
    headers: { get: (name) => headers[name.toLowerCase()]?.toString() ?? null },
    body: null,
    text: async () => text,
  }
}
