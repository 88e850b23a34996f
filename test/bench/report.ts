import type { Executes } from './executes.ts'
import { type Cell, type Metric, medianOf, ratioOf } from './measure.ts'

export interface Results {
  cells: Cell[]
  /** Signatures checked a second, by engine. */
  signatures: Record<string, number>
  /** Orders created, at 64 connections. */
  orders: Cell[]
  /** Orders executed end to end. */
  executes: Executes[]
  memory:
    | {
        keys: number
        beforeMegabytes: number
        mostMegabytes: number
        afterMegabytes: number
        seconds: number
      }
    | undefined
  smallKeys: number
  bigKeys: number
}

export interface Goal {
  goal: string
  wanted: string
  measured: number | undefined
  met: boolean | undefined
}

/** The goals of the issue, at 64 connections on Postgres with few keys unless they say otherwise. */
export function goalsOf(results: Results): Goal[] {
  const { smallKeys, bigKeys, signatures, memory } = results
  const cell = (side: string, connections = 64, keys = smallKeys, generator = 'node') =>
    results.cells.find(
      (at) =>
        at.side === side &&
        at.connections === connections &&
        at.keys === keys &&
        at.generator === generator,
    )
  const byWrk = (side: string, connections = 64) => cell(side, connections, smallKeys, 'wrk')
  const ratio = (one: Cell | undefined, other: Cell | undefined, metric: Metric) =>
    one && other && ratioOf(one, other, metric)
  const speed = (one: Cell | undefined, other: Cell | undefined) =>
    ratio(one, other, 'requestsPerSecond')
  const native = signatures['verifyMessage with libsecp256k1']
  const stacks = signatures['stacks.js verifyMessageSignatureRsv']

  return [
    atLeast('gate against the empty route', 0.6, speed(cell('gate'), cell('empty'))),
    atLeast('the same at 256 connections', 0.65, speed(cell('gate', 256), cell('empty', 256))),
    atLeast('the same by wrk', 0.6, speed(byWrk('gate'), byWrk('empty'))),
    atLeast('by wrk at 256 connections', 0.65, speed(byWrk('gate', 256), byWrk('empty', 256))),
    atMost(
      'CPU of Node against the empty route',
      1.8,
      ratio(cell('gate'), cell('empty'), 'cpuMicros'),
    ),
    atMost(
      'CPU of Postgres against one UPDATE a request',
      0.12,
      ratio(cell('gate'), cell('naive'), 'postgresCpuMicros'),
    ),
    atLeast('gate against one UPDATE a request', 4.5, speed(cell('gate'), cell('naive'))),
    atLeast('gate against better-auth', 30, speed(cell('gate'), cell('better-auth'))),
    atLeast(
      `${spell(bigKeys)} keys against ${spell(smallKeys)}`,
      0.9,
      bigKeys === smallKeys ? undefined : speed(cell('gate', 64, bigKeys), cell('gate')),
    ),
    atMost("p99 against the empty route's p99", 3, ratio(cell('gate'), cell('empty'), 'p99Ms')),
    atMost(
      "one connection, p50 against one UPDATE's p50",
      1,
      ratio(cell('gate', 1), cell('naive', 1), 'p50Ms'),
    ),
    atLeast(
      "verification on Node against @stacks' own",
      15,
      native && stacks ? native / stacks : undefined,
    ),
    atMost(
      `RSS after ${spell(memory?.keys ?? bigKeys)} keys touched, MB`,
      200,
      memory?.afterMegabytes,
    ),
  ]
}

function atLeast(goal: string, least: number, measured: number | undefined): Goal {
  const met = measured === undefined ? undefined : measured >= least
  return { goal, wanted: `>= ${least}`, measured, met }
}

function atMost(goal: string, most: number, measured: number | undefined): Goal {
  const met = measured === undefined ? undefined : measured <= most
  return { goal, wanted: `<= ${most}`, measured, met }
}

/** Markdown tables, to read in a terminal or to paste. */
export function present(results: Results): string {
  const { signatures, memory } = results
  const parts = [
    cellTable('The gate', results.cells),
    cellTable('Orders created', results.orders),
    executesTable(results.executes),
    Object.keys(signatures).length === 0
      ? ''
      : table(
          ['Signatures checked', 'a second'],
          Object.entries(signatures).map(([name, rate]) => [name, rounded(rate)]),
        ),
    memory === undefined
      ? ''
      : `Memory: ${spell(memory.keys)} distinct keys touched in ${rounded(memory.seconds)} s, RSS of the server ` +
        `${rounded(memory.beforeMegabytes)} MB before, ${rounded(memory.mostMegabytes)} MB at most, ${rounded(memory.afterMegabytes)} MB after.`,
    table(
      ['Goal (64 connections, Postgres)', 'wanted', 'measured', ''],
      goalsOf(results).map(({ goal, wanted, measured, met }) => [
        goal,
        wanted,
        measured === undefined ? '-' : measured.toPrecision(3),
        met === undefined ? '-' : met ? 'met' : 'MISSED',
      ]),
    ),
  ]
  return parts.filter((part) => part !== '').join('\n\n')
}

function cellTable(title: string, cells: readonly Cell[]): string {
  if (cells.length === 0) return ''
  const columns = [
    title,
    'load by',
    'keys',
    'connections',
    'requests/s',
    'of empty',
    'p50 ms',
    'p99 ms',
  ]
  const costs = ['CPU us', 'Postgres CPU us', 'RSS MB', 'load CPU', 'not 2xx']
  return table(
    [...columns, ...costs],
    cells.map((cell) => {
      const empty = cells.find(
        ({ side, connections, generator }) =>
          side === 'empty' && connections === cell.connections && generator === cell.generator,
      )
      return [
        cell.side,
        cell.generator,
        spell(cell.keys),
        String(cell.connections),
        rounded(medianOf(cell, 'requestsPerSecond')),
        empty === undefined ? '-' : ratioOf(cell, empty, 'requestsPerSecond').toFixed(2),
        medianOf(cell, 'p50Ms').toFixed(2),
        medianOf(cell, 'p99Ms').toFixed(2),
        rounded(medianOf(cell, 'cpuMicros')),
        rounded(medianOf(cell, 'postgresCpuMicros')),
        rounded(medianOf(cell, 'rssMegabytes')),
        shareOf(medianOf(cell, 'loadCpu')),
        String(cell.samples.reduce((sum, { refused }) => sum + refused, 0)),
      ]
    }),
  )
}

function executesTable(executes: readonly Executes[]): string {
  if (executes.length === 0) return ''
  return table(
    [
      'Orders executed: node, answers after',
      'operators',
      'orders',
      'connections',
      'executes/s',
      'confirmed/s',
      'p50 ms',
      'p99 ms',
      'CPU us',
      'Postgres CPU us',
      'told to wait',
      'most in flight',
    ],
    executes.map((one) => [
      `${one.node}, ${one.answerMs} ms`,
      String(one.operators),
      rounded(one.orders),
      String(one.connections),
      one.executesPerSecond.toFixed(1),
      one.confirmedPerSecond.toFixed(1),
      rounded(one.p50Ms),
      rounded(one.p99Ms),
      rounded(one.cpuMicros),
      rounded(one.postgresCpuMicros ?? Number.NaN),
      rounded(one.toldToWait),
      String(one.mostInFlight ?? '-'),
    ]),
  )
}

function table(head: string[], rows: string[][]): string {
  const widths = head.map((cell, at) =>
    Math.max(cell.length, ...rows.map((row) => row[at]?.length ?? 0)),
  )
  const line = (cells: string[]) =>
    `| ${cells.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join(' | ')} |`
  const rule = `|${widths.map((width, at) => (at === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return [line(head), rule, ...rows.map(line)].join('\n')
}

function shareOf(value: number): string {
  return Number.isNaN(value) ? '-' : value.toFixed(2)
}

function rounded(value: number): string {
  return Number.isNaN(value) ? '-' : Math.round(value).toLocaleString('en')
}

function spell(count: number): string {
  if (count >= 1e6) return `${count / 1e6}M`
  return count >= 1e3 ? `${count / 1e3}k` : String(count)
}
