import { watchKeys } from './alerts/watch.ts'
import type { ServersOptions } from './db/servers.ts'
import type { WatchOptions } from './db/watch.ts'
import type { Log } from './log.ts'
import { forgetOldNotices } from './notices/forget.ts'
import { forgetSpending } from './orders/allowance.ts'
import { reconcile } from './settlement/reconcile.ts'
import { releaseShare } from './settlement/share.ts'
import { forgetNonces } from './signed-requests/nonces.ts'
import { forgetUsage } from './usage/forget.ts'
import type { World } from './world.ts'

/** Work that a process repeats. Any number of processes may run a job at once. */
export interface Job {
  name: string
  /** Pause between two passes of a long-lived process; 0 turns the job off there. */
  intervalMs(config: World['config']): number
  /** Runs one pass; false when there is more to do at once. */
  run(world: World, now: number): Promise<boolean>
  /** Runs when a process ends; on Workers, at the end of a tick. */
  stop?(world: World): Promise<void>
}

const USAGE_INTERVAL_MS = 1_000
const WATCH_INTERVAL_MS = 1_000
const DELIVERY_INTERVAL_MS = 1_000
const FORGET_INTERVAL_MS = 3_600_000
const NONCES_INTERVAL_MS = 30_000
const KEYS_INTERVAL_MS = 1_000

/** Every periodic job. Node repeats each at its interval; Workers run all of them at each tick of the cron trigger. */
export const JOBS: readonly Job[] = [
  {
    name: 'watch_database',
    intervalMs: () => WATCH_INTERVAL_MS,
    async run({ watch, db }) {
      await watch.read(db)
      return true
    },
  },
  {
    name: 'sample_primary',
    intervalMs: ({ READ_DATABASE_URL: url }) => (url === undefined ? 0 : WATCH_INTERVAL_MS),
    async run({ replica }) {
      await replica?.sample()
      return true
    },
    stop: async ({ replica }) => replica?.close(),
  },
  {
    name: 'reconcile',
    intervalMs: ({ RECONCILE_INTERVAL_MS }) => RECONCILE_INTERVAL_MS,
    run: async (world) => world.watch.isSuperseded() || (await reconcile(world)).isDone,
    // Leases end by themselves: a database that is away must not keep a process from stopping.
    stop: (world) => releaseShare(world).catch(() => {}),
  },
  {
    name: 'watch_keys',
    intervalMs: () => KEYS_INTERVAL_MS,
    run: async (world) => world.watch.isSuperseded() || watchKeys(world),
  },
  {
    name: 'forget_nonces',
    intervalMs: () => NONCES_INTERVAL_MS,
    run: async (world, now) => world.watch.isSuperseded() || forgetNonces(world, now),
  },
  {
    name: 'flush_usage',
    intervalMs: () => USAGE_INTERVAL_MS,
    async run({ usage, db }, now) {
      await usage.flushDue(db, now)
      return true
    },
    stop: ({ usage, db }) => usage.flush(db),
  },
  {
    name: 'deliver_notices',
    intervalMs: ({ WEBHOOKS }) => (WEBHOOKS === 'off' ? 0 : DELIVERY_INTERVAL_MS),
    run: async (world) =>
      world.watch.isSuperseded() || ((await world.deliverer?.pass(world)) ?? true),
  },
  {
    name: 'forget_notices',
    intervalMs: () => FORGET_INTERVAL_MS,
    run: forgetOldNotices,
  },
  {
    name: 'forget_usage',
    intervalMs: () => FORGET_INTERVAL_MS,
    run: forgetUsage,
  },
  {
    name: 'forget_spending',
    intervalMs: () => FORGET_INTERVAL_MS,
    run: forgetSpending,
  },
]

/** Logs what is found out about the servers of the database. */
export function logServers(log: Log): NonNullable<ServersOptions['onChange']> {
  return (change, timeline) => {
    const fields = timeline === undefined ? {} : { timeline }
    if (change === 'primary_changed') log('warn', 'primary_changed', fields)
    else if (change === 'old_primary_refused') log('error', 'old_primary_refused', fields)
    else log('error', 'other_cluster_refused', fields)
  }
}

/** Logs what the watch of the database finds. */
export function logChanges(log: Log): WatchOptions['onChange'] {
  return (change, aheadMs) => {
    if (change === 'clock_differs') log('warn', 'clock_differs', { aheadMs })
    else if (change === 'clock_agrees') log('info', 'clock_agrees', { aheadMs })
    else if (change === 'tables_distributed') log('error', 'tables_distributed')
    else log('error', 'release_superseded')
  }
}
