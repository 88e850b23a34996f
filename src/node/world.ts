import { setTimeout as timer } from 'node:timers/promises'
import { readEncryptionKeys } from '../crypto/keys.ts'
import { postgresClock } from '../db/time.ts'
import { checkEncryptionKeys } from '../encryption/check.ts'
import { limitsOf } from '../gate/admit.ts'
import { openGate } from '../gate/gate.ts'
import { countByIp } from '../http/ip-limits.ts'
import { openOrderFeed } from '../orders/feed.ts'
import { openInserts } from '../orders/insert.ts'
import { hasUnsealedKeys } from '../provenance/seal.ts'
import { openOperators } from '../settlement/operator.ts'
import { connectStacksNode } from '../settlement/stacks-node.ts'
import { openUsage } from '../usage/record.ts'
import type { World } from '../world.ts'
import { hashSecretNatively, openNativeEncryption, openNativeMac } from './crypto.ts'
import { openHeads } from './heads.ts'

export type WorldOptions = Pick<World, 'config' | 'db' | 'log' | 'now' | 'recover'> &
  Partial<Pick<World, 'databaseTime'>>

/** Builds the world of a Node process; all its requests share it. */
export async function openWorld({
  config,
  db,
  log,
  now,
  recover,
  databaseTime = postgresClock,
}: WorldOptions): Promise<World> {
  const chain = connectStacksNode({
    network: config.STACKS_NETWORK,
    apiUrl: config.STACKS_API_URL ?? '',
    quoteUrl: config.QUOTE_URL ?? '',
    fetch,
    timeoutMs: config.NODE_TIMEOUT_MS,
    now,
    ...(config.STACKS_API_KEY !== undefined && {
      apiHeaders: { 'x-api-key': config.STACKS_API_KEY },
    }),
  })
  const keys = readEncryptionKeys(config.ENCRYPTION_KEY)
  await checkEncryptionKeys(db, keys)
  const mac = openNativeMac(keys)
  const randomBytes = (length: number) => crypto.getRandomValues(new Uint8Array(length))
  const encryption = await openNativeEncryption(keys)
  if (await hasUnsealedKeys(db)) log('warn', 'api_keys_unsealed')
  return {
    config,
    db,
    databaseTime,
    gate: openGate(db, limitsOf(config), {
      mac,
      log,
      ...(config.DATABASE_URL.startsWith('pglite:') && { gather }),
    }),
    chain,
    operators: openOperators(
      db,
      databaseTime,
      chain,
      config.OPERATOR_PRIVATE_KEYS,
      config.STACKS_NETWORK,
    ),
    ipLimits: countByIp(config.IP_RATE_LIMIT_PER_MINUTE),
    encryption,
    hashSecret: hashSecretNatively,
    mac,
    usage: openUsage(log),
    insertOrder: openInserts(db),
    feed: openOrderFeed(db, log, { now, pause }),
    recover,
    log,
    keepHead: await openHeads(config.AUDIT_HEADS_FILE, log, now),
    now,
    randomBytes,
  }
}

/** PGlite resolves within the same turn of the event loop: without a pause no other request would be read meanwhile. */
const gather = () => new Promise<void>((resolve) => setImmediate(resolve))

const pause = (ms: number) => timer(ms, undefined, { ref: false })
