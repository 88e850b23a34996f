import { existsSync, unlinkSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Log } from '../log.ts'
import { ACTS, type ActName, type ActRefusal, type Perform } from '../operator/acts.ts'
import type { Result } from '../result.ts'

/** Heads of a long log are sent along: see `checkAudit`. */
const MAX_BODY_BYTES = 64 * 1024 * 1024

type Reply = Result<unknown, ActRefusal> | { failed: string }

/**
 * Performs the acts of an operator for the processes that can open a socket: its file is for its owner only, so that the kernel
 * checks the credential. Resolves to how to close it. Rejects with a sentence where another process has the socket.
 */
export async function listenForOperator(
  path: string,
  perform: Perform,
  log: Log,
): Promise<() => Promise<void>> {
  await removeStale(path)
  const server = createServer((incoming, response) => {
    void respondTo(incoming, response, perform, log)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new Error(`The operator's socket ${path} cannot be opened: ${error.message}`)),
    )
    // The file is made by listen itself: with a mode that is set afterwards, another user could be faster.
    const mask = process.umask(0o177)
    server.listen(path, resolve)
    process.umask(mask)
  })
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
}

async function respondTo(
  incoming: IncomingMessage,
  response: ServerResponse,
  perform: Perform,
  log: Log,
): Promise<void> {
  const name = incoming.url?.slice(1) ?? ''
  const reply = (status: number, body: Reply) => {
    response.writeHead(status, { 'Content-Type': 'application/json' })
    response.end(JSON.stringify(body))
  }
  if (incoming.method !== 'POST' || !Object.hasOwn(ACTS, name))
    return reply(404, { failed: `There is no act ${name.slice(0, 50)}` })
  // A body whose length is not named could be of any length.
  if (!(Number(incoming.headers['content-length']) <= MAX_BODY_BYTES))
    return reply(413, { failed: `The input needs a Content-Length of ${MAX_BODY_BYTES} at most` })
  const input = parse(await text(incoming).catch(() => ''))
  if (input === undefined) return reply(400, { failed: 'The input is no JSON' })
  try {
    const result = await perform(name as ActName, input as never)
    log('info', 'operator_acted', { act: name, refused: result.ok ? undefined : result.reason })
    reply(200, result)
  } catch (error) {
    const fault = error instanceof Error ? error.name : 'unknown'
    log('error', 'operator_act_failed', { act: name, fault })
    reply(500, { failed: `The service could not do it: ${fault}; its log has operator_act_failed` })
  }
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

/** A process that was killed leaves the file of its socket behind. */
async function removeStale(path: string): Promise<void> {
  if (!existsSync(path)) return
  if (await isAlive(path))
    throw new Error(`Another process listens on the operator's socket ${path}`)
  unlinkSync(path)
}

/** Whether a process listens on a socket. */
export function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

/** Performs acts through the socket of a running service. */
export function performThrough(path: string): Perform {
  return async (name, input) => {
    const reply = await post(path, name, JSON.stringify(input))
    if ('failed' in reply) throw new Error(reply.failed)
    return reply as Awaited<ReturnType<Perform>> as never
  }
}

function post(socketPath: string, name: string, body: string): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Length': Buffer.byteLength(body), Host: 'operator' }
    const sent = request({ socketPath, path: `/${name}`, method: 'POST', headers }, (response) => {
      text(response).then((reply) => resolve(JSON.parse(reply)), reject)
    })
    sent.once('error', (error) =>
      reject(new Error(`The service behind ${socketPath} does not respond: ${error.message}`)),
    )
    sent.end(body)
  })
}
