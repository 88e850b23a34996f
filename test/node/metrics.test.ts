import { beforeAll, describe, expect, it } from 'vitest'
import { openMetrics } from '../../src/metrics/metrics.ts'
import { prometheusText } from '../../src/metrics/prometheus.ts'
import { createKey, json, newWallet } from '../support/wallet.ts'
import { type Entry, startEntry } from './entry.ts'

const clock = { now: Date.now() }

describe('GET /metrics', () => {
  let entry: Entry
  let url: string
  let metricsUrl: string
  beforeAll(async () => {
    entry = startEntry({ DATABASE_URL: 'pglite::memory:', METRICS_PORT: '0' })
    url = await entry.url()
    metricsUrl = `http://127.0.0.1:${(await entry.event('metrics_listening')).port}/metrics`
  }, 120_000)
  const call = (path: string, init?: RequestInit) => fetch(`${url}/api/v1${path}`, init)
  const read = async () => valuesOf(await (await fetch(metricsUrl)).text())

  it('is not served to clients of the service', async () => {
    expect((await fetch(`${url}/metrics`)).status).toBe(404)
    expect((await fetch(metricsUrl.replace('/metrics', '/'))).status).toBe(404)
    expect((await fetch(metricsUrl)).headers.get('content-type')).toContain('text/plain')
  })

  it('counts every request by its route and status, and never by what a client wrote', async () => {
    const { apiKey } = await createKey({ call }, newWallet({ clock }))
    for (let n = 0; n < 3; n++) await call('/me', { headers: { 'X-API-Key': apiKey } })
    await call(`/orders/${apiKey}`)
    await call(`/${apiKey}`)
    await call('/orders/new', json({}))
    const values = await read()
    const requests = (method: string, route: string, status: number) =>
      values.get(
        `latchkey_http_requests_total{method="${method}",route="${route}",status="${status}"}`,
      )
    expect(requests('GET', '/api/v1/me', 200)).toBe(3)
    expect(requests('GET', '/api/v1/orders/{uuid}', 404)).toBe(1)
    expect(requests('GET', 'unmatched', 404)).toBe(2)
    expect(requests('POST', '/api/v1/orders/new', 400)).toBe(1)
    const duration = 'latchkey_http_request_duration_seconds'
    const labels = 'method="GET",route="/api/v1/me"'
    expect(values.get(`${duration}_count{${labels}}`)).toBe(3)
    expect(values.get(`${duration}_bucket{${labels},le="+Inf"}`)).toBe(3)
    expect(values.get('latchkey_http_refusals_total{code="ORDER_NOT_FOUND"}')).toBe(1)
    expect([...values.keys()].join('\n')).not.toContain(apiKey.slice(8, 40))
  })

  it('counts the events of the log and the passes of jobs, and describes the process', async () => {
    const values = await read()
    expect(values.get('latchkey_log_events_total{event="api_key_created",level="info"}')).toBe(1)
    expect(
      values.get('latchkey_job_passes_total{job="watch_database",result="success"}'),
    ).toBeGreaterThan(0)
    const last = values.get('latchkey_job_last_success_timestamp_seconds{job="watch_database"}')
    expect(Math.abs((last ?? 0) - Date.now() / 1_000)).toBeLessThan(60)
    expect(values.get('process_resident_memory_bytes')).toBeGreaterThan(10_000_000)
    expect(values.get('latchkey_release_superseded')).toBe(0)
  })
})

it('a port of metrics that is taken stops the start with a sentence', {
  timeout: 180_000,
}, async () => {
  const first = startEntry({ DATABASE_URL: 'pglite::memory:', METRICS_PORT: '0' })
  const { port } = await first.event('metrics_listening')
  const second = startEntry({ DATABASE_URL: 'pglite::memory:', METRICS_PORT: String(port) })
  expect((await second.ended).code).toBe(1)
  expect(second.stderr()).toContain(`Port ${port} of 127.0.0.1 is taken`)
  expect(second.stderr()).toContain('METRICS_PORT')
})

describe("Prometheus' text", () => {
  it('escapes what labels and help may hold', () => {
    const metrics = openMetrics()
    metrics.counter('a_total', 'two\nlines \\')({ label: 'a"b\\c\nd' }).value += 2
    expect(prometheusText(metrics.collect())).toBe(
      '# HELP a_total two\\nlines \\\\\n# TYPE a_total counter\na_total{label="a\\"b\\\\c\\nd"} 2\n',
    )
  })

  it('has cumulative buckets', () => {
    const metrics = openMetrics()
    const cell = metrics.histogram('h', 'help', [1, 5])()
    cell.counts = [2, 0, 3]
    cell.sum = 40
    expect(prometheusText(metrics.collect())).toContain(
      'h_bucket{le="1"} 2\nh_bucket{le="5"} 2\nh_bucket{le="+Inf"} 5\nh_sum 40\nh_count 5\n',
    )
  })

  it('stays bounded when labels do not', () => {
    const metrics = openMetrics()
    const count = metrics.counter('a_total', 'help')
    for (let n = 0; n < 10_000; n++) count({ n: String(n) }).value += 1
    expect(metrics.collect()[0]?.samples).toHaveLength(5_000)
  })
})

function valuesOf(text: string): Map<string, number> {
  const samples = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    samples.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    }),
  )
}
