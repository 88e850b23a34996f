import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json as readJson } from 'node:stream/consumers'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { readOtelSettings } from '../../src/otel/settings.ts'
import { isSampled, parseTraceParent } from '../../src/otel/trace-context.ts'
import { createKey, createOrder, fund, newWallet } from '../support/wallet.ts'
import { startEntry } from './entry.ts'

const clock = { now: Date.now() }

interface Received {
  path: string | undefined
  headers: IncomingHttpHeaders
  // biome-ignore lint/suspicious/noExplicitAny: the JSON of OTLP
  body: any
}

/** A peer that speaks OTLP/HTTP: it keeps what it is sent, and responds as the test says. */
class Collector {
  received: Received[] = []
  status: number | 'silent' = 200
  #server: Server

  constructor() {
    this.#server = createServer(async (request, response) => {
      const body = await readJson(request)
      if (this.status === 'silent') return
      if (this.status === 200)
        this.received.push({ path: request.url, headers: request.headers, body })
      response.writeHead(this.status, { 'Content-Type': 'application/json' }).end('{}')
    })
  }

  async url(): Promise<string> {
    if (!this.#server.listening)
      await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  // biome-ignore lint/suspicious/noExplicitAny: the JSON of OTLP
  spans(): any[] {
    return this.received
      .filter(({ path }) => path === '/v1/traces')
      .flatMap(({ body }) => body.resourceSpans[0].scopeSpans[0].spans)
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

const collectors: Collector[] = []
afterAll(() => {
  for (const one of collectors) one.close()
})

async function start(env: Record<string, string> = {}) {
  const collector = new Collector()
  collectors.push(collector)
  const entry = startEntry({
    DATABASE_URL: 'pglite::memory:',
    OTEL_EXPORTER_OTLP_ENDPOINT: await collector.url(),
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20hunter2',
    OTEL_BSP_SCHEDULE_DELAY: '100',
    OTEL_METRIC_EXPORT_INTERVAL: '200',
    ACCESS_LOG: 'all',
    ...env,
  })
  const url = await entry.url()
  const call = (path: string, init?: RequestInit) => fetch(`${url}/api/v1${path}`, init)
  return { collector, entry, call }
}

// biome-ignore lint/suspicious/noExplicitAny: the JSON of OTLP
function attributesOf({ attributes }: any): Record<string, unknown> {
  return Object.fromEntries(
    // biome-ignore lint/suspicious/noExplicitAny: the JSON of OTLP
    attributes.map(({ key, value }: any) => [key, Object.values(value)[0]]),
  )
}

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'

describe('OpenTelemetry', { timeout: 120_000 }, () => {
  it('exports a span for each request, in the trace of its caller, with the requests that it caused', async () => {
    const { collector, entry, call } = await start({
      OTEL_SERVICE_NAME: 'dex',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
    })
    const wallet = newWallet({ clock })
    await fund({ call }, wallet)
    const { apiKey, keyId } = await createKey({ call }, wallet)
    const uuid = await createOrder({ call }, wallet)
    const executed = await call(`/orders/${uuid}/execute`, {
      method: 'POST',
      headers: { 'X-API-Key': apiKey, traceparent: `00-${TRACE}-${PARENT}-01` },
    })
    expect(executed.status).toBe(200)
    await vi.waitFor(
      () => expect(collector.spans().filter(({ traceId }) => traceId === TRACE)).not.toEqual([]),
      { timeout: 20_000 },
    )
    entry.child.kill('SIGTERM')
    await entry.ended
    const ofTrace = collector.spans().filter(({ traceId }) => traceId === TRACE)
    const server = ofTrace.find(({ kind }) => kind === 2)
    expect(server).toMatchObject({
      name: 'POST /api/v1/orders/{uuid}/execute',
      parentSpanId: PARENT,
      status: {},
    })
    expect(attributesOf(server)).toMatchObject({
      'http.request.method': 'POST',
      'http.route': '/api/v1/orders/{uuid}/execute',
      'http.response.status_code': '200',
      'latchkey.key_id': keyId,
      'latchkey.request_id': executed.headers.get('x-request-id'),
    })
    expect(BigInt(server.endTimeUnixNano) - BigInt(server.startTimeUnixNano)).toBeGreaterThan(0n)
    const clients = ofTrace.filter(({ kind }) => kind === 3)
    expect(clients.length).toBeGreaterThan(1)
    for (const { parentSpanId } of clients) expect(parentSpanId).toBe(server.spanId)
    const [{ headers, body } = {} as Received] = collector.received
    expect(headers.authorization).toBe('Bearer hunter2')
    expect(attributesOf((body.resourceSpans ?? body.resourceMetrics)[0].resource)).toMatchObject({
      'service.name': 'dex',
      'deployment.environment.name': 'test',
    })
    const lines = entry.stdout.map((line) => JSON.parse(line))
    expect(lines).toContainEqual(expect.objectContaining({ event: 'request', traceId: TRACE }))
    const told = JSON.stringify([collector.received.map((one) => one.body), entry.stdout])
    for (const secret of [apiKey.slice(8, 40), 'hunter2']) expect(told).not.toContain(secret)

    const metrics = collector.received.filter(({ path }) => path === '/v1/metrics').at(-1)
    const families = metrics?.body.resourceMetrics[0].scopeMetrics[0].metrics
    const find = (name: string) => families.find((family: { name: string }) => family.name === name)
    const points = find('latchkey_http_requests_total').sum.dataPoints
    // biome-ignore lint/suspicious/noExplicitAny: the JSON of OTLP
    const executes = points.find((point: any) =>
      attributesOf(point).route?.toString().endsWith('/execute'),
    )
    expect(executes).toMatchObject({ asDouble: 1 })
    const { histogram } = find('latchkey_http_request_duration_seconds')
    const [point] = histogram.dataPoints
    expect(point.bucketCounts).toHaveLength(point.explicitBounds.length + 1)
  })

  it('records no trace that its caller does not record, and sends again what a collector could not take', async () => {
    const { collector, entry, call } = await start({ OTEL_METRICS_EXPORTER: 'none' })
    collector.status = 503
    await call('/time', { headers: { traceparent: `00-${TRACE}-${PARENT}-00` } })
    await call('/info', { headers: { traceparent: 'no trace' } })
    await entry.event('telemetry_not_exported')
    collector.status = 200
    await entry.event('telemetry_exported_again')
    const names = collector.spans().map(({ name }) => name)
    expect(names).toContain('GET /api/v1/info')
    expect(names).not.toContain('GET /api/v1/time')
    const lines = entry.stdout.map((line) => JSON.parse(line))
    expect(lines.filter(({ event }) => event === 'telemetry_not_exported')).toHaveLength(1)
    expect(collector.received.every(({ path }) => path === '/v1/traces')).toBe(true)
  })

  it('serves and stops beside a collector that never responds', async () => {
    const { collector, entry, call } = await start()
    collector.status = 'silent'
    expect((await call('/info')).status).toBe(200)
    entry.child.kill('SIGTERM')
    expect(await entry.ended).toEqual({ code: 0, signal: null })
  })
})

describe('the variables of OpenTelemetry', () => {
  const of = (env: Record<string, string>) => readOtelSettings(env)

  it('export nothing unless they name a collector', () => {
    expect(of({})).toEqual({ settings: { resource: {}, propagates: true }, problems: [] })
    const { settings } = of({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c:4318/',
      OTEL_SDK_DISABLED: 'true',
    })
    expect([settings.traces, settings.metrics]).toEqual([undefined, undefined])
  })

  it('name an address for both signals, or one for each', () => {
    const { settings } = of({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'https://c/base/',
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'https://m/own',
      OTEL_EXPORTER_OTLP_HEADERS: 'a=1,b=x%20y',
      OTEL_EXPORTER_OTLP_METRICS_HEADERS: 'a=2',
    })
    expect(settings.traces).toMatchObject({
      url: 'https://c/base/v1/traces',
      headers: { a: '1', b: 'x y' },
      ratio: 1,
      followsParent: true,
    })
    expect(settings.metrics).toMatchObject({ url: 'https://m/own', headers: { a: '2', b: 'x y' } })
    expect(of({ OTEL_TRACES_EXPORTER: 'otlp' }).settings).toMatchObject({
      traces: { url: 'http://localhost:4318/v1/traces' },
    })
  })

  it.each([
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'c:4318' }, 'OTEL_EXPORTER_OTLP_ENDPOINT'],
    [{ OTEL_TRACES_EXPORTER: 'zipkin' }, 'OTEL_TRACES_EXPORTER'],
    [{ OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, 'OTEL_EXPORTER_OTLP_PROTOCOL'],
    [{ OTEL_TRACES_SAMPLER: 'toString' }, 'OTEL_TRACES_SAMPLER'],
    [
      { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '2' },
      'OTEL_TRACES_SAMPLER_ARG',
    ],
    [{ OTEL_METRIC_EXPORT_INTERVAL: '1s' }, 'OTEL_METRIC_EXPORT_INTERVAL'],
    [{ OTEL_EXPORTER_OTLP_HEADERS: 'hunter2' }, 'OTEL_EXPORTER_OTLP_HEADERS'],
    [{ OTEL_EXPORTER_OTLP_HEADERS: 'hunter2=%zz' }, 'OTEL_EXPORTER_OTLP_HEADERS'],
  ])('that cannot be used are named, without credentials: %j', (env, name) => {
    const { problems } = of({
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: '',
      OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: 'http://c',
      OTEL_TRACES_EXPORTER: 'otlp',
      ...env,
    })
    expect(problems.join('\n')).toContain(`${name}: `)
    expect(problems.join('\n')).not.toContain('hunter2')
  })

  it.each([
    [`00-${TRACE}-${PARENT}-01`, { traceId: TRACE, spanId: PARENT, sampled: true }],
    [`00-${TRACE}-${PARENT}-00`, { traceId: TRACE, spanId: PARENT, sampled: false }],
    [`cc-${TRACE}-${PARENT}-03-later`, { traceId: TRACE, spanId: PARENT, sampled: true }],
    [`00-${TRACE}-${PARENT}-01-more`, undefined],
    [`ff-${TRACE}-${PARENT}-01`, undefined],
    [`00-${'0'.repeat(32)}-${PARENT}-01`, undefined],
    [`00-${TRACE}-${'0'.repeat(16)}-01`, undefined],
    [`00-${TRACE.toUpperCase()}-${PARENT}-01`, undefined],
    ['', undefined],
    [undefined, undefined],
  ])('read a traceparent as W3C writes it: %s', (header, expected) => {
    expect(parseTraceParent(header)).toEqual(expected)
  })

  it('record a share of the traces, and the same ones everywhere', () => {
    expect(isSampled(TRACE, 1)).toBe(true)
    expect(isSampled('f'.repeat(32), 1)).toBe(true)
    expect(isSampled('0'.repeat(32), 0)).toBe(false)
    expect(isSampled(`${'f'.repeat(20)}${'4'.repeat(12)}`, 0.25)).toBe(false)
    expect(isSampled(`${'f'.repeat(20)}${'3'.repeat(12)}`, 0.25)).toBe(true)
  })
})
