import { cpus } from 'node:os'
import { startDevnet } from '../../src/node/devnet.ts'
import { burstAtBoundaries } from './bursts.ts'
import { contend } from './contention.ts'
import { killUnderLoad } from './kills.ts'
import { breakDatabase, OUTAGES } from './outages.ts'
import { startOwnPostgres } from './postgres.ts'
import { fundedOperator, type ServiceProcess, sharedEnv, startProcess } from './process.ts'
import { revokeUnderLoad } from './revocation.ts'

/**
 * The long forms of the proofs in test/gate and test/faults. SOAK=0.1 does a tenth of everything;
 * SOAK_ONLY=kills,outages does those alone.
 */
const scale = Number(process.env.SOAK ?? 1)
const only = process.env.SOAK_ONLY?.split(',')
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

const server = await startOwnPostgres()
const devnet = await startDevnet()
const chain = { devnetUrl: devnet.url }
const LIMITS = { minute: 24, hour: 60, day: 130 }

/** Two processes on a new database, for one proof. */
async function withPair<T>(
  limits: Record<string, string> | undefined,
  prove: (pair: { databaseUrl: string; processes: [ServiceProcess, ServiceProcess] }) => Promise<T>,
): Promise<T> {
  const databaseUrl = await server.freshDatabase()
  const env = sharedEnv(databaseUrl, chain, limits)
  const start = async () =>
    startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
  const processes: [ServiceProcess, ServiceProcess] = [await start(), await start()]
  try {
    return await prove({ databaseUrl, processes })
  } finally {
    await Promise.all(processes.map((one) => one.stop()))
  }
}

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
    const { mismatches, ...tally } = await killUnderLoad({
      databaseUrl: await server.freshDatabase(),
      chain,
      kills,
      onKill: (kill, requests) => progress(`kills: ${kill} of ${kills}, ${requests} requests`),
    })
    return {
      figures: {
        ...tally,
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
      server,
      chain,
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
}

const outcomes: Outcome[] = []
try {
  for (const [proof, prove] of Object.entries(PROOFS)) {
    if (only !== undefined && !only.includes(proof)) continue
    const from = seconds()
    say(`${proof}: begins`)
    const outcome = await prove()
    outcomes.push({ proof, seconds: seconds() - from, ...outcome })
    say(`${proof}: ${outcome.faults.length === 0 ? 'holds' : 'DOES NOT HOLD'}`)
  }
} finally {
  await Promise.all([server.close(), devnet.stop()])
}

say(`${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}, SOAK=${scale}\n`)
for (const { proof, seconds: took, figures, faults } of outcomes) {
  const shown = Object.entries(figures).map(([name, value]) => `${name} ${value}`)
  process.stdout.write(
    `${faults.length === 0 ? 'holds ' : 'FAULTS'}  ${proof.padEnd(11)} ${took} s  ${shown.join(', ')}\n`,
  )
  for (const fault of faults.slice(0, 20)) process.stdout.write(`        ${fault}\n`)
}
process.exit(outcomes.some(({ faults }) => faults.length > 0) ? 1 : 0)

function total(counts: Record<string, number>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

function named(what: string, counts: Record<string, number>): string[] {
  return Object.entries(counts).map(([name, count]) => `${what}: ${count} x ${name}`)
}

function unless(holds: boolean, fault: string): string[] {
  return holds ? [] : [fault]
}
