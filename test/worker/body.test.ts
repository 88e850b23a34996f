import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { freshDatabase, type Service, secretsOf, startService } from '../support/service.ts'
import { newWallet } from '../support/wallet.ts'
import { startWorker } from './workerd.ts'

/** What no HTTP library sends, byte by byte, to workerd itself. */
describe('In workerd a body', () => {
  let service: Service
  let worker: Awaited<ReturnType<typeof startWorker>>
  beforeAll(async () => {
    const databaseUrl = await freshDatabase('Postgres')
    service = await startService('Postgres', { databaseUrl })
    worker = await startWorker(inject('runFolder'), databaseUrl, {
      ...secretsOf(service),
      STACKS_API_URL: inject('devnetUrl'),
      QUOTE_URL: `${inject('devnetUrl')}/quote`,
      LOG_LEVEL: 'debug',
    })
    await worker.fetch('/api/v1/time')
  })
  afterAll(async () => {
    await worker.stop()
    await service.close()
  })

  async function post(headers: string, body: string): Promise<{ status: number; code: string }> {
    const socket = connect(worker.directPort, '127.0.0.1')
    let answer = ''
    socket.setEncoding('latin1').on('data', (more) => {
      answer += more
    })
    socket.on('error', () => {})
    socket.write(
      `POST /api/v1/api-keys HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${headers}\r\n\r\n${body}`,
    )
    socket.end()
    // Not `once` of node:events, which rejects when the connection is reset: unread bytes of the body cause that.
    await new Promise((resolve) => socket.once('close', resolve))
    const status = /x-test-status: (\d+)/i.exec(answer) ?? /^HTTP\/1\.1 (\d+)/.exec(answer)
    return { status: Number(status?.[1]), code: /"code":"(\w+)"/.exec(answer)?.[1] ?? '' }
  }

  const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`

  it.each([
    ['that ends before its length', 'Content-Length: 100', '{"a":'],
    ['that ends before its last chunk', 'Transfer-Encoding: chunked', chunk('{"a":')],
    ['that ends within a chunk', 'Transfer-Encoding: chunked', '64\r\n{"a":'],
    ['whose chunk has no length', 'Transfer-Encoding: chunked', 'zz\r\n{}\r\n0\r\n\r\n'],
    ['whose chunk is longer than it says', 'Transfer-Encoding: chunked', '2\r\n{}XX\r\n0\r\n\r\n'],
    [
      'in too many chunks',
      'Transfer-Encoding: chunked',
      `${chunk(' '.repeat(1_024)).repeat(80)}0\r\n\r\n`,
    ],
    [
      'in one chunk that is too large',
      'Transfer-Encoding: chunked',
      `${chunk(' '.repeat(100_000))}0\r\n\r\n`,
    ],
    ['that is longer than allowed', 'Content-Length: 100000', ' '.repeat(100_000)],
  ])('%s is refused as the fault of its client', async (_, headers, body) => {
    const { status, code } = await post(headers, body)
    // A client that closed its connection may get no response at all.
    expect([400, 413, Number.NaN]).toContain(status)
    if (!Number.isNaN(status)) expect(['INVALID_REQUEST', 'BODY_TOO_LARGE', '']).toContain(code)
    const { response, trace } = await worker.call('/api/v1/time', { now: service.clock.now })
    expect(response.status).toBe(200)
    expect(trace.logged.join('\n')).not.toMatch(/internal_error|database_unavailable/)
  })

  it('that is whole is read, in chunks or not', async () => {
    const text = JSON.stringify(
      newWallet(service).sign({ action: 'create_api_key', keyName: 'a', permissions: [] }),
    )
    expect(await post(`Content-Length: ${text.length}`, text)).toMatchObject({ status: 201 })
    const other = JSON.stringify(
      newWallet(service).sign({ action: 'create_api_key', keyName: 'a', permissions: [] }),
    )
    const chunks = chunk(other.slice(0, 50)) + chunk(other.slice(50)) + chunk('')
    expect(await post('Transfer-Encoding: chunked', chunks)).toMatchObject({ status: 201 })
  })
})
