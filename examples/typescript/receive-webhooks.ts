/*
 * A receiver of webhooks: verifies each delivery, acts once for each webhook-id, and responds quickly.
 *
 *     WEBHOOK_SECRET=whsec_.. PORT=9000 node examples/typescript/receive-webhooks.ts
 */
import { createServer } from 'node:http'
import { verifyWebhook, type WebhookEvent } from 'latchkey/client'

const secrets = (process.env.WEBHOOK_SECRET ?? '').split(',')
/** The longest body that is read. */
const MAX_BYTES = 65_536
/** Ids that were handled: a delivery may come twice. A receiver with more than one process keeps them in a database. */
const handled = new Set<string>()

function act(event: WebhookEvent): void {
  if (handled.has(event.id)) return
  handled.add(event.id)
  if (event.type === 'key.leaked') console.log(`leaked: ${event.data.keyId}`)
  else console.log(`${event.type}: ${event.data.orderUuid ?? event.data.keyId ?? ''}`)
}

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) return void response.writeHead(413, { connection: 'close' }).end()
    chunks.push(chunk)
  }
  try {
    // The bytes as they came: JSON that was parsed and written again has another signature.
    act(verifyWebhook(Buffer.concat(chunks), request.headers, secrets))
    response.writeHead(204).end()
  } catch {
    response.writeHead(400).end()
  }
})
server.listen(Number(process.env.PORT ?? 9_000), '127.0.0.1', () => {
  const address = server.address()
  console.log(`listening on ${typeof address === 'object' ? address?.port : ''}`)
})
