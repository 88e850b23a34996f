import {
  type Client,
  type ClientOptions,
  createClient,
  privateKeySigner,
} from '../../src/client/index.ts'

export const PRIVATE_KEY = '1cf4469c146ca09479758b592ec41826e35e3ebbc127a568826a21d752d1abe701'
export const API_KEY = `ck_live_${'k'.repeat(43)}${'c'.repeat(6)}`
export const ROUTER = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.x-multihop-rc9'
export const NOON = Date.parse('2026-11-21T12:00:00Z')

export const signer = privateKeySigner(PRIVATE_KEY, 'devnet')
export const DRAFT = {
  inputToken: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.token-a',
  outputToken: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.token-b',
  amountIn: '1000000',
  uuid: 'uuid-1',
}

export interface Answer {
  status?: number
  headers?: Record<string, string>
  /** JSON, or a text that is not. */
  body?: object | string
}

export interface Sent {
  method: string
  url: URL
  headers: Record<string, string>
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever was sent
  body: any
}

export type Script = (
  | Answer
  | Error
  | ((sent: Sent, init: RequestInit) => Answer | Promise<Answer>)
)[]

export const info = {
  network: 'devnet',
  chainId: 2147483648,
  routerContract: ROUTER,
  intentDomain: { name: 'BLAZE_PROTOCOL', version: 'v1.0', 'chain-id': 2147483648 },
  scopes: ['create', 'execute', 'cancel', 'read'],
  limits: {
    key: { perMinute: 100, perHour: 1_000, perDay: 10_000 },
    ipPerMinute: 300,
    maxActiveKeysPerWallet: 10,
    signatureMaxAgeSeconds: 300,
  },
  version: '0.1.0',
}

export function refusal(status: number, code: string, more: object = {}, headers = {}): Answer {
  return {
    status,
    headers,
    body: { error: 'No', code, timestamp: '', requestId: 'req_1', ...more },
  }
}

/**
 * A client whose service answers a script, one answer a request, and whose time is a value. `GET /info` and `GET /time`
 * are answered beside the script. It knows what the wire looks like and nothing of what the service would decide.
 */
export function scripted(
  script: Script,
  options: Partial<ClientOptions> & { info?: object; serviceAheadMs?: number } = {},
): { client: Client; sent: Sent[]; waits: number[]; clock: { nowMs: number }; left: Script } {
  const { info: saidInfo = info, serviceAheadMs = 0, ...clientOptions } = options
  const left = [...script]
  const sent: Sent[] = []
  const waits: number[] = []
  const clock = { nowMs: NOON }
  const client = createClient({
    baseUrl: 'https://dex.example',
    routers: [ROUTER],
    clock: {
      now: () => clock.nowMs,
      async wait(ms, signal) {
        signal.throwIfAborted()
        waits.push(ms)
        clock.nowMs += ms
      },
    },
    async fetch(address, init) {
      const url = new URL(address)
      const headers = Object.fromEntries(new Headers(init.headers))
      const body = typeof init.body === 'string' ? JSON.parse(init.body) : undefined
      const request = { method: init.method ?? 'GET', url, headers, body }
      if (url.pathname === '/api/v1/info') return respond({ body: saidInfo })
      if (url.pathname === '/api/v1/time')
        return respond({ body: { serverTime: clock.nowMs + serviceAheadMs } })
      sent.push(request)
      const answer = left.shift()
      if (answer === undefined) throw new Error('The script has no answer left')
      if (answer instanceof Error) throw answer
      return respond(typeof answer === 'function' ? await answer(request, init) : answer)
    },
    ...clientOptions,
  })
  return { client, sent, waits, clock, left }
}

function respond({ status = 200, headers = {}, body = {} }: Answer): Response {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  // A response without content has no body, not even an empty one.
  return new Response(status === 204 ? null : text, { status, headers })
}
