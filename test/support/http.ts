import { Agent, type IncomingHttpHeaders, request } from 'node:http'

export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  // biome-ignore lint/suspicious/noExplicitAny: whatever JSON the service says
  body: any
  /** How long it took, in milliseconds. */
  ms: number
}

export interface Ask {
  method?: string
  key?: string
  /** A JSON body. */
  json?: unknown
}

/** A client that keeps its connections and tells an answer from none: undefined when the connection broke first. */
export interface Client {
  ask(path: string, ask?: Ask): Promise<Answer | undefined>
  close(): void
}

export function connectTo(origin: string): Client {
  const agent = new Agent({ keepAlive: true })
  return {
    ask(path, { method = 'GET', key, json } = {}) {
      const body = json === undefined ? undefined : JSON.stringify(json)
      const began = performance.now()
      return new Promise((resolve) => {
        const asked = request(
          `${origin}/api/v1${path}`,
          {
            agent,
            method,
            headers: {
              ...(key !== undefined && { 'X-API-Key': key }),
              ...(body !== undefined && {
                'Content-Type': 'application/json',
                'Content-Length': Buffer.byteLength(body),
              }),
            },
          },
          (response) => {
            const chunks: Buffer[] = []
            response.on('data', (chunk: Buffer) => chunks.push(chunk))
            response.once('error', () => resolve(undefined))
            response.once('close', () => {
              if (!response.complete) return resolve(undefined)
              resolve({
                status: response.statusCode ?? 0,
                headers: response.headers,
                body: JSON.parse(Buffer.concat(chunks).toString() || 'null'),
                ms: performance.now() - began,
              })
            })
          },
        )
        asked.once('error', () => resolve(undefined))
        asked.end(body)
      })
    },
    close: () => agent.destroy(),
  }
}
