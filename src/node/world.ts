import { setTimeout as timer } from 'node:timers/promises'
import { toHex } from '../crypto/bytes.ts'
import { readEncryptionKeys } from '../crypto/keys.ts'
import { type Distribution, readDistribution } from '../db/distribution.ts'
import { openStandby } from '../db/open.ts'
import { openReplica, type Replica } from '../db/replica.ts'
import { clockOf, timestamptz } from '../db/time.ts'
import { openWatch } from '../db/watch.ts'
import { checkEncryptionKeys } from '../encryption/check.ts'
import type { Config } from '../env.ts'
import { limitsOf } from '../gate/admit.ts'
import { openGate } from '../gate/gate.ts'
import { countByIp } from '../http/ip-limits.ts'
import { logReadiness, shareChecks } from '../http/readiness.ts'
import { logChanges } from '../jobs.ts'
import { openGithubReports } from '../leaks/github.ts'
import { openOrderFeed } from '../orders/feed.ts'
import { openInserts } from '../orders/insert.ts'
import { hasUnsealedKeys } from '../provenance/seal.ts'
import { openCredentialUse } from '../service-credentials/use.ts'
import { openOperators } from '../settlement/operator.ts'
import { connectStacksNode } from '../settlement/stacks-node.ts'
import { openNonces } from '../signed-requests/nonces.ts'
import { openSigners } from '../signed-requests/signers.ts'
import type { SignDigest } from '../stacks/sign.ts'
import { openUsage } from '../usage/record.ts'
import { openWalletFeed } from '../wallets/feed.ts'
import { openHoldings } from '../wallets/holdings.ts'
import { openDeliverer } from '../webhooks/deliver.ts'
import type { PeerFetch } from '../wire/response.ts'
import type { World } from '../world.ts'
import { hashSecretNatively, openNativeEncryption, openNativeMac } from './crypto.ts'
import { fetchPeer } from './fetch.ts'
import { openHeads } from './heads.ts'
import { openSender, resolveHost } from './webhooks.ts'

export interface WorldOptions extends Pick<World, 'config' | 'db' | 'log' | 'recover'> {
  /** What signs transactions; by default JavaScript does. */
  signDigest?: SignDigest
  /** The process's own clock: the service uses Postgres'. */
  ownNow: () => number
  /** Milliseconds since any moment, by a clock that nothing sets. */
  elapsed: () => number
  /** A time in place of both clocks, for tests. */
  fixedTime?: () => number
  /** How the chain is reached. */
  fetch?: PeerFetch
  /** Where shards are, in place of what the database says, for tests. */
  distribution?: Distribution | undefined
}

/** Builds the world of a Node process; all its requests share it. */
export async function openWorld({
  config,
  db,
  log,
  ownNow,
  elapsed,
  recover,
  signDigest,
  fixedTime,
  fetch = fetchPeer,
  distribution: given,
}: WorldOptions): Promise<World> {
  const watch = openWatch({ ownNow, elapsed, onChange: logChanges(log) })
  await watch.read(db)
  const distribution = given ?? (await readDistribution(db))
  const now = fixedTime ?? watch.now
  const databaseTime =
    fixedTime === undefined ? clockOf(distribution, now) : () => timestamptz(fixedTime())
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
    distribution,
    databaseTime,
    gate: openGate(db, limitsOf(config), {
      mac,
      log,
      now,
      fixedTime,
      distribution,
      gather,
      // PGlite resolves within the same turn of the event loop: without a pause no other request would be read meanwhile.
      ...(config.DATABASE_URL.startsWith('pglite:') && { gathersAlways: true, maxStatements: 1 }),
    }),
    watch,
    chain,
    holder: toHex(randomBytes(HOLDER_BYTES)),
    operators: openOperators({
      db,
      databaseTime,
      chain,
      privateKeys: config.OPERATOR_PRIVATE_KEYS,
      network: config.STACKS_NETWORK,
      signDigest,
      log,
      lowBalanceInMicroStx: config.LOW_BALANCE_IN_MICRO_STX,
    }),
    ipLimits: countByIp(config.IP_RATE_LIMIT_PER_MINUTE),
    readiness: shareChecks({ sharesPending: true, onChecked: logReadiness(log) }),
    encryption,
    hashSecret: hashSecretNatively,
    verifyLeakReport:
      config.LEAK_REPORTS === 'github'
        ? openGithubReports({ url: config.GITHUB_KEYS_URL, fetch, elapsed, sharesPending: true })
        : undefined,
    webhookPorts: { resolve: resolveHost, send: openSender() },
    deliverer: openDeliverer(),
    mac,
    signers: openSigners({ mac, encryption }),
    useNonce: openNonces(db, { distribution, fixedTime, now }),
    useCredential: openCredentialUse({
      db,
      mac,
      log,
      fixedTime: fixedTime ?? (distribution?.hasManyServers === true ? now : undefined),
    }),
    usage: openUsage(log, distribution),
    replica: replicaOf(config, { db, log, elapsed }),
    insertOrder: openInserts(db, distribution),
    readHoldings: openHoldings({
      chain,
      tokens: config.ACCOUNT_TOKENS,
      now,
      pause,
      sharesPending: true,
    }),
    feed: openOrderFeed(db, log, { now, pause, distribution }),
    walletFeed: openWalletFeed(db, log, { now, pause, distribution }),
    recover,
    log,
    keepHead: await openHeads(config.AUDIT_HEADS_FILE, log, now),
    now,
    randomBytes,
  }
}

function replicaOf(
  { READ_DATABASE_URL: url, MAX_REPLICA_LAG_SECONDS }: Config,
  { db, log, elapsed }: Pick<WorldOptions, 'db' | 'log' | 'elapsed'>,
): Replica | undefined {
  if (url === undefined) return undefined
  const maxLagMs = MAX_REPLICA_LAG_SECONDS * 1_000
  return openReplica({
    primary: db,
    open: () => openStandby(url),
    maxLagMs,
    elapsed,
    onChange(change, fault) {
      if (change === 'replica_read') log('info', 'replica_read')
      else log('warn', 'replica_not_read', { fault })
    },
  })
}

const HOLDER_BYTES = 8

/** Resolves once the input of this turn of the event loop has been read. */
const gather = () => new Promise<void>((resolve) => setImmediate(resolve))

const pause = (ms: number) => timer(ms, undefined, { ref: false })
