import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { startDevnetProcess } from '../../src/node/devnet.ts'
import { type DatabaseClockOfTest, openDatabaseClock } from '../support/database-clock.ts'
import { startOwnPostgres } from '../support/postgres.ts'
import { fundedOperator, type ServiceProcess, sharedEnv, startProcess } from '../support/process.ts'
import { abuse } from '../support/workloads/abuse.ts'
import { burstAtBoundaries } from '../support/workloads/bursts.ts'
import { contend } from '../support/workloads/contention.ts'
import { killUnderLoad } from '../support/workloads/kills.ts'
import { breakDatabase, OUTAGES } from '../support/workloads/outages.ts'
import { revokeUnderLoad } from '../support/workloads/revocation.ts'
import { failovers } from './failover.ts'
import { runTests } from './tests.ts'

const USAGE = `npm run soak -- [options]
  --only A,B    of: exactness, contention, revocation, kills, outages, failover, abuse, settlement, model, fuzz, races
  --scale S     how much of everything: 0.1 does a tenth (1)
  --minutes M   how long abuse lasts (10 times the scale)`

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    scale: { type: 'string' },
    minutes: { type: 'string' },
    help: { type: 'boolean' },
  },
})
const scale = Number(values.scale ?? 1)
const minutes = Number(values.minutes ?? 10 * scale)
const only = values.only?.split(',')
const times = (whole: number) => Math.max(1, Math.round(whole * scale))

interface Outcome {
  proof: string
  seconds: number
  figures: Record<string, unknown>
  faults: string[]
}

const began = performance.now()
const seconds = () => Math.round((performance.now() - began) / 1_000)
const say = (text: string) => process.stdout.write(`${String(seconds()).padStart(5)} s  ${text}\n`)
let saidAt = 0
/** Not more often than every few seconds. */
function progress(text: string): void {
  if (performance.now() - saidAt < 5_000) return
  saidAt = performance.now()
  say(text)
}

/** Started by the first proof that needs them: some bring their own. */
const started: { close(): Promise<void> }[] = []
const lazily = <T>(start: () => Promise<T>, close: (one: T) => Promise<void>) => {
  let one: Promise<T> | undefined
  return () => {
    one ??= start().then((it) => {
      started.push({ close: () => close(it) })
      return it
    })
    return one
  }
}
const openServer = lazily(startOwnPostgres, (server) => server.close())
const openChain = lazily(startDevnetProcess, (devnet) => devnet.stop())
const chainOf = async () => ({ devnetUrl: (await openChain()).url })
const LIMITS = { minute: 24, hour: 60, day: 130 }

/** Two processes on a new database, for one proof. */
async function withPair<T>(
  limits: Record<string, string> | undefined,
  prove: (pair: {
    databaseUrl: string
    clock: DatabaseClockOfTest
    processes: [ServiceProcess, ServiceProcess]
  }) => Promise<T>,
): Promise<T> {
  const [server, chain] = [await openServer(), await chainOf()]
  const databaseUrl = await server.freshDatabase()
  const clock = await openDatabaseClock(databaseUrl)
  const env = sharedEnv(clock.databaseUrl, chain, limits)
  const start = async () =>
    startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
  const processes: [ServiceProcess, ServiceProcess] = [await start(), await start()]
  try {
    return await prove({ databaseUrl, clock, processes })
  } finally {
    await Promise.all([...processes.map((one) => one.stop()), clock.close()])
  }
}

/** The long forms of what `npm test` proves in a short one. */
const PROOFS: Record<string, () => Promise<Omit<Outcome, 'proof' | 'seconds'>>> = {
  async exactness() {
    const rounds = times(2_000)
    const limits = {
      RATE_LIMIT_PER_MINUTE: String(LIMITS.minute),
      RATE_LIMIT_PER_HOUR: String(LIMITS.hour),
      RATE_LIMIT_PER_DAY: String(LIMITS.day),
    }
    const { wrong, ...figures } = await withPair(limits, (pair) =>
      burstAtBoundaries({
        ...pair,
        limits: LIMITS,
        rounds,
        onRound: (tally) =>
          progress(`exactness: ${tally.rounds} of ${rounds} bursts, ${tally.wrong.length} wrong`),
      }),
    )
    return { figures: { ...figures, wrong: wrong.length }, faults: wrong }
  },

  async contention() {
    const requests = times(100_000)
    say(`contention: ${requests} requests of 64 keys in differing orders`)
    const tally = await withPair(undefined, (pair) => contend({ ...pair, requests }))
    return {
      figures: { ...tally, unexpected: total(tally.unexpected) },
      faults: [
        ...named('unexpected answers', tally.unexpected),
        ...unless(tally.deadlocks === 0, `${tally.deadlocks} deadlocks`),
        ...unless(tally.miscounted === 0, `${tally.miscounted} keys miscounted`),
      ],
    }
  },

  async revocation() {
    const trials = times(10_000)
    const tally = await withPair(undefined, ({ processes: [one, other] }) =>
      revokeUnderLoad({
        one,
        other,
        trials,
        onTrial: (so) =>
          progress(
            `revocation: ${so.trials} of ${trials}, ${so.requests} requests, ${so.acceptedAfter} accepted after`,
          ),
      }),
    )
    return {
      figures: { ...tally, unexpected: total(tally.unexpected) },
      faults: [
        ...unless(tally.acceptedAfter === 0, `${tally.acceptedAfter} accepted after revocation`),
        ...unless(tally.freshRefused === 0, `${tally.freshRefused} fresh keys refused`),
        ...named('unexpected answers', tally.unexpected),
      ],
    }
  },

  async kills() {
    const kills = times(100)
    const {
      mismatches,
      lost: unanswered,
      ...tally
    } = await killUnderLoad({
      databaseUrl: await (await openServer()).freshDatabase(),
      chain: await chainOf(),
      kills,
      onKill: (kill, requests) => progress(`kills: ${kill} of ${kills}, ${requests} requests`),
    })
    return {
      figures: {
        ...tally,
        unanswered,
        unexpected: total(tally.unexpected),
        mismatches: mismatches.length,
      },
      faults: [
        ...mismatches,
        ...named('unexpected answers', tally.unexpected),
        ...unless(tally.deadlocks === 0, `${tally.deadlocks} deadlocks`),
      ],
    }
  },

  async outages() {
    const outages = Array.from(
      { length: times(20) },
      (_, place) => OUTAGES[place % OUTAGES.length] as (typeof OUTAGES)[number],
    )
    const { mismatches, died, ...tally } = await breakDatabase({
      server: await openServer(),
      chain: await chainOf(),
      outages,
      onOutage: (so, outage) =>
        progress(
          `outages: ${so.outages} of ${outages.length} (${outage}), ${so.whileDown} refused meanwhile, ${so.lateRefusals} late`,
        ),
    })
    return {
      figures: {
        ...tally,
        wrongWhileDown: total(tally.wrongWhileDown),
        unexpected: total(tally.unexpected),
        mismatches: mismatches.length,
        died: died.length,
      },
      faults: [
        ...mismatches,
        ...died,
        ...named('answers while down', tally.wrongWhileDown),
        ...named('unexpected answers', tally.unexpected),
        ...unless(tally.lateRefusals === 0, `${tally.lateRefusals} refused after the return`),
        ...unless(
          tally.connectionsAfter <= tally.connectionsAllowed,
          `${tally.connectionsAfter} connections, ${tally.connectionsAllowed} allowed`,
        ),
      ],
    }
  },

  failover: async () => failovers({ chain: await chainOf(), rounds: times(1), say }),

  async abuse() {
    say(`abuse: ${minutes} minutes of attacks beside honest bots`)
    const { attacks, drops, rssMb, liveMb, files, mismatches, died, ...tally } = await abuse({
      server: await openServer(),
      chain: await chainOf(),
      seconds: minutes * 60,
      onSecond: (text) => progress(`abuse: ${text}`),
    })
    const successRate = `${(100 * tally.successRate).toFixed(3)} %`
    const grown = {
      rssMb: rssMb.after - rssMb.before,
      liveMb: liveMb.after - liveMb.before,
      files: files.after - files.before,
    }
    return {
      figures: {
        ...tally,
        successRate,
        unexpectedInCalm: total(tally.unexpectedInCalm),
        unexpectedDisturbed: total(tally.unexpectedDisturbed),
        attacks: shown(attacks.attempts),
        statuses: shown(attacks.statuses),
        drops: shown(drops),
        rssMb: shown(rssMb),
        liveMb: shown(liveMb),
        files: shown(files),
        mismatches: mismatches.length,
      },
      faults: [
        ...mismatches,
        ...(died === undefined ? [] : [died]),
        ...named('unexpected answers in calm', tally.unexpectedInCalm),
        ...named('unexpected answers in outages and jumps', tally.unexpectedDisturbed),
        ...unless(tally.p99Ms < 5_000, `p99 of honest bots ${tally.p99Ms} ms`),
        ...unless(attacks.statuses['500'] === undefined, `${attacks.statuses['500']} x 500`),
        ...unless(grown.files <= 20, `${grown.files} files left open`),
        ...unless(grown.liveMb <= 30, `${grown.liveMb} MB of live objects more than before`),
        ...unless(grown.rssMb <= 200, `${grown.rssMb} MB more after than before`),
      ],
    }
  },

  async settlement() {
    const { told, faults } = await runTests({
      files: ['test/settlement/crash.test.ts'],
      env: { CRASH_POINTS: 'all', RANDOM_KILLS: String(times(200)) },
      onProgress: (line) => progress(`settlement: ${line}`),
    })
    const sum = (name: string) => told.reduce((all, one) => all + sizeOf(one[name]), 0)
    return {
      figures: {
        kills: sum('kills'),
        orders: sum('orders'),
        acknowledged: sum('acknowledged'),
        duplicates: sum('duplicates'),
        lost: sum('lost'),
        wrong: sum('wrong'),
        unended: sum('unended'),
        gaps: sum('gaps'),
        miscounted: sum('miscounted'),
        unreached: sum('unreached'),
      },
      faults,
    }
  },

  async model() {
    const trials = times(300)
    const files = ['test/settlement/model.test.ts']
    const { faults } = await runTests({ files, env: { MODEL_RUNS: String(trials) } })
    return { figures: { trials }, faults }
  },

  async fuzz() {
    const trials = Math.max(10_000, times(100_000)) // With fewer, not every answer is seen often enough.
    const files = ['test/fuzz/endpoints.test.ts']
    const { faults } = await runTests({ files, env: { FUZZ_RUNS: String(trials) } })
    return { figures: { trials }, faults }
  },

  async races() {
    const trials = times(50)
    const files = ['test/races']
    const { faults } = await runTests({ files, env: { RACE_ROUNDS: String(trials) } })
    return { figures: { trials }, faults }
  },
}

const unknown = only?.filter((proof) => !(proof in PROOFS)) ?? []
if (values.help === true || unknown.length > 0 || !(scale > 0) || !(minutes > 0)) {
  process.stderr.write(`${unknown.map((proof) => `There is no ${proof}.\n`).join('')}${USAGE}\n`)
  process.exit(values.help === true ? 0 : 2)
}

const outcomes: Outcome[] = []
try {
  for (const [proof, prove] of Object.entries(PROOFS)) {
    if (only !== undefined && !only.includes(proof)) continue
    const from = seconds()
    say(`${proof}: begins`)
    const outcome = await prove().catch((error) => ({ figures: {}, faults: [String(error)] }))
    outcomes.push({ proof, seconds: seconds() - from, ...outcome })
    say(`${proof}: ${outcome.faults.length === 0 ? 'holds' : 'DOES NOT HOLD'}`)
  }
} finally {
  await Promise.all(started.map((one) => one.close()))
}

say(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}, scale ${scale}\n`)
const COLUMNS = ['kills', 'orders', 'trials', 'requests', 'duplicates', 'lost'] as const
process.stdout.write(
  table([
    ['proof', '', 'seconds', ...COLUMNS],
    ...outcomes.map(({ proof, seconds: took, figures, faults }) => [
      proof,
      faults.length === 0 ? 'holds' : 'DOES NOT HOLD',
      String(took),
      ...COLUMNS.map((column) => String(figures[column] ?? '-')),
    ]),
  ]),
)
for (const { proof, figures, faults } of outcomes) {
  const more = Object.entries(figures).filter(
    ([name]) => !COLUMNS.some((column) => column === name),
  )
  const shown = more.map(([name, value]) => `${name} ${value}`).join(', ')
  if (shown !== '') process.stdout.write(`${proof}: ${shown}\n`)
  for (const fault of faults.slice(0, 20)) process.stdout.write(`${proof}: ${fault}\n`)
}
process.exit(outcomes.some(({ faults }) => faults.length > 0) ? 1 : 0)

function table(rows: string[][]): string {
  const widths = (rows[0] ?? []).map((_, at) =>
    Math.max(...rows.map((row) => row[at]?.length ?? 0)),
  )
  const line = (row: string[]) =>
    row.map((cell, at) => (at < 2 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
  return `\n${rows.map((row) => line(row).join('  ')).join('\n')}\n\n`
}

/** A count, or how many there are. */
function sizeOf(value: unknown): number {
  return Array.isArray(value) ? value.length : Number(value ?? 0)
}

function total(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

function shown(counts: Record<string, number>): string {
  return `(${Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')})`
}

function named(what: string, counts: Record<string, number>): string[] {
  return Object.entries(counts).map(([name, count]) => `${what}: ${count} x ${name}`)
}

function unless(holds: boolean, fault: string): string[] {
  return holds ? [] : [fault]
}
