import { randomBytes } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import { REFUSALS, type RefusalReason } from '../errors.ts'
import { errorBody } from '../http/problem.ts'
import type { Log } from '../log.ts'
import type { Details } from '../result.ts'

/** A refusal by the server itself, of a request that no route sees. */
interface RawRefusal {
  reason: RefusalReason
  details?: Details
}

/** By the code of Node's parser; what is not here is not HTTP/1.1. */
const REFUSAL_OF_FAULT: Readonly<Record<string, RawRefusal>> = {
  ERR_HTTP_REQUEST_TIMEOUT: { reason: 'requestTimeout' },
  HPE_HEADER_OVERFLOW: { reason: 'headersTooLarge' },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    reason: 'bodyTooLarge',
    details: { problem: 'extensions of chunks are too long' },
  },
  HOST_MISSING: { reason: 'invalidRequest', details: { problem: 'the request has no Host' } },
  CONNECT: { reason: 'methodNotAllowed', details: { problem: 'this is not a proxy' } },
}

/** Builds the responses of the server itself, in the form of all other refusals. */
export function openRawRefusals(log: Log, now: () => number) {
  function present({ reason, details }: RawRefusal) {
    const requestId = `req_${randomBytes(12).toString('hex')}`
    const { status } = REFUSALS[reason]
    log('debug', 'refused', { requestId, reason, status })
    const body = JSON.stringify(errorBody(reason, details, { at: now(), requestId }))
    const headers = {
      'Content-Type': 'application/json',
      'Cache-Control': 'no-store',
      'X-Request-Id': requestId,
      Connection: 'close',
    }
    return { status, headers, body }
  }
  return {
    /** The response to what Node's parser refuses with a code, as it is sent. */
    ofFault(code: string): string {
      const { status, headers, body } = present(
        REFUSAL_OF_FAULT[code] ?? malformed(`the request is not HTTP/1.1: ${code || 'unreadable'}`),
      )
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
      return `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
    },
    /** The response to a request whose target or Host makes no URL. */
    ofTarget(problem: string): Response {
      const { status, headers, body } = present(malformed(problem))
      return new Response(body, { status, headers })
    },
    /** The response where the app itself fails, which is a defect. */
    ofDefect(): Response {
      const { status, headers, body } = present({ reason: 'internal' })
      return new Response(body, { status, headers })
    },
  }
}

function malformed(problem: string): RawRefusal {
  return { reason: 'invalidRequest', details: { problem } }
}
