import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { fetchPeer } from '../../src/node/fetch.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

async function serve(listener: RequestListener): Promise<{ url: string; sockets: Set<Socket> }> {
  const server = createServer(listener)
  servers.push(server)
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => sockets.add(socket))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, sockets }
}

it('sends texts and bytes as they are, and returns status, headers and text', async () => {
  const { url } = await serve(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { method, headers } = request
    const seen = {
      method,
      type: headers['content-type'],
      hex: Buffer.concat(chunks).toString('hex'),
    }
    response.writeHead(429, { 'Retry-After': '7' }).end(JSON.stringify({ ...seen, text: 'é' }))
  })
  const headers = { 'Content-Type': 'text/x' }
  const response = await fetchPeer(url, { method: 'POST', headers, body: 'é' })
  expect([response.status, response.ok, response.headers.get('retry-after')]).toEqual([
    429,
    false,
    '7',
  ])
  expect(JSON.parse(await response.text())).toEqual({
    method: 'POST',
    type: 'text/x',
    hex: 'c3a9',
    text: 'é',
  })
  const bytes = await fetchPeer(url, { method: 'POST', body: Uint8Array.of(0, 255) })
  expect(JSON.parse(await bytes.text())).toMatchObject({ hex: '00ff' })
})

it('keeps the connection, also after a response that is not read', async () => {
  const { url, sockets } = await serve((_, response) => void response.end('x'.repeat(100_000)))
  for (let turn = 0; turn < 5; turn++) await fetchPeer(url)
  expect(sockets.size).toBe(1)
})

it('sends nothing twice: a peer that hangs up may have taken it', async () => {
  let requests = 0
  const { url } = await serve((request, response) => {
    requests += 1
    if (requests === 2) request.socket.resetAndDestroy()
    else response.end('done')
  })
  await fetchPeer(url)
  await expect(fetchPeer(url)).rejects.toMatchObject({ code: 'ECONNRESET' })
  expect(requests).toBe(2)
})

it('ends with its signal, before the response and within it', async () => {
  const { url } = await serve((request, response) => {
    if (request.url === '/begun') response.write('some')
  })
  for (const path of ['silent', 'begun']) {
    const signal = AbortSignal.timeout(50)
    await expect(fetchPeer(url + path, { signal })).rejects.toMatchObject({ name: 'TimeoutError' })
  }
  await expect(fetchPeer(url, { signal: AbortSignal.abort() })).rejects.toMatchObject({
    name: 'AbortError',
  })
})
