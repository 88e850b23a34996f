import type { Statement } from './pool.ts'

/** What a server says of itself. */
export interface ServerIdentity {
  isStandby: boolean
  /** Of the cluster that initdb made, which a primary and its standbys share; undefined where the server does not tell. */
  system: string | undefined
  /** The timeline that a primary writes: each promotion begins a higher one. Undefined of a standby, or where it is not told. */
  timeline: number | undefined
}

/** A session that must not be used, or cannot be. `isOutage` knows the codes. */
export class ServerError extends Error {
  readonly code:
    | 'CONNECTION_TO_STANDBY'
    | 'CONNECTION_TO_OLD_PRIMARY'
    | 'CONNECTION_TO_OTHER_CLUSTER'
  constructor(code: ServerError['code']) {
    super(MESSAGES[code])
    this.code = code
  }
}

const MESSAGES = {
  CONNECTION_TO_STANDBY: 'the server is a standby, which takes no writes',
  CONNECTION_TO_OLD_PRIMARY: 'the server writes an older timeline than another one that was seen',
  CONNECTION_TO_OTHER_CLUSTER:
    'the server is of another cluster: restart the service to move to it',
} as const

/** Not from the control file: it has the timeline of the last checkpoint, which may be the one before the promotion. */
const IDENTITY = `SELECT pg_is_in_recovery() AS standby, (SELECT system_identifier::text FROM pg_control_system()) AS system,
  CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END AS timeline`
const ROLE_ALONE = 'SELECT pg_is_in_recovery() AS standby, NULL AS system, NULL AS timeline'

/** SQLSTATEs of a hosted Postgres that offers fewer functions. */
const NOT_OFFERED = /^(0A000|42501|42883)$/

interface IdentityRow {
  standby: boolean
  system: string | null
  timeline: string | null
}

/** Reads what the server of a session says of itself. */
export async function readIdentity(
  send: (text: string) => Statement | PromiseLike<unknown>,
): Promise<ServerIdentity> {
  const found = await Promise.resolve(send(IDENTITY)).catch((error: { code?: string }) => {
    if (!NOT_OFFERED.test(error.code ?? '')) throw error
    return send(ROLE_ALONE)
  })
  const [row] = found as IdentityRow[]
  return {
    isStandby: row?.standby === true,
    system: row?.system ?? undefined,
    timeline: row?.timeline == null ? undefined : Number.parseInt(row.timeline, 16),
  }
}
