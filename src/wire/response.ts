/** The response of a peer is larger, or nested deeper, than any that is valid. */
export class ResponseTooLarge extends Error {
  override readonly name = 'ResponseTooLarge'
}

/** As much of a response as its readers use. A body that is null has been read: `text` has it. */
export interface PeerResponse extends Pick<Response, 'status' | 'ok' | 'text'> {
  headers: Pick<Headers, 'get'>
  body: ReadableStream<Uint8Array> | null
}

/** As much of `fetch` as requests to peers use: headers are an object, and a body is text or bytes. */
export type PeerFetch = (url: string, init?: RequestInit) => Promise<PeerResponse>

/** No response of a service, a node or a quote service is nested deeper. Writing a deeper value would overflow the stack. */
const MAX_DEPTH = 64

/**
 * Reads the text of a response, at most `maxBytes` of it after decompression: a few hundred bytes of brotli can expand to
 * gigabytes, and a chunked body need never end. Rejects with `ResponseTooLarge` for a longer one, and with the reason of the
 * signal when it aborts, whether or not the fetch heeds it. In both cases the body is cancelled.
 */
export async function readResponse(
  response: PeerResponse,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<string> {
  // Some implementations of fetch have no streams, and no body is null.
  if (response.body == null) return requireShort(await response.text(), maxBytes)
  const reader = response.body.getReader()
  const cancel = () => void reader.cancel().catch(() => {})
  signal?.addEventListener('abort', cancel, { once: true })
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  try {
    for (;;) {
      signal?.throwIfAborted()
      const { done, value } = await reader.read()
      if (done) break
      bytes += value.length
      if (bytes > maxBytes) throw tooLarge(maxBytes)
      text += decoder.decode(value, { stream: true })
    }
    signal?.throwIfAborted()
    return text + decoder.decode()
  } catch (error) {
    cancel()
    throw error
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
}

/** Reads the JSON of a response, within `maxBytes` and 64 levels. Rejects with a `SyntaxError` where it is none. */
export async function readResponseJson(
  response: PeerResponse,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<unknown> {
  return parseBounded(await readResponse(response, maxBytes, signal))
}

/** Gives the connection of a response back that is not read. Never rejects. */
export async function discard(response: Pick<PeerResponse, 'body'>): Promise<void> {
  await response.body?.cancel().catch(() => {})
}

/** As `JSON.parse`. Throws `ResponseTooLarge` for more than 64 levels, before anything is built of them. */
export function parseBounded(text: string): unknown {
  if (isDeeper(text, MAX_DEPTH))
    throw new ResponseTooLarge(`The response is nested deeper than ${MAX_DEPTH} levels`)
  return JSON.parse(text)
}

/** Whether brackets outside of strings are nested deeper. Of a text that is no JSON, either result will do. */
function isDeeper(text: string, maxDepth: number): boolean {
  let depth = 0
  let isInString = false
  // Not a regular expression: one that skips strings overflows the stack within a long one.
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '"') isInString = !isInString
    else if (isInString && character === '\\') at += 1
    else if (isInString) continue
    else if (character === '[' || character === '{') depth += 1
    else if (character === ']' || character === '}') depth -= 1
    if (depth > maxDepth) return true
  }
  return false
}

function requireShort(text: string, maxBytes: number): string {
  if (text.length > maxBytes) throw tooLarge(maxBytes)
  return text
}

function tooLarge(maxBytes: number): ResponseTooLarge {
  return new ResponseTooLarge(`The response is larger than ${maxBytes} bytes`)
}
