import postgres from 'postgres'

/** Tables whose rows are never changed; a trigger refuses it as well, and only the owner of the table can disable that. */
const APPEND_ONLY = ['audit_events', 'order_events', 'signed_actions']
/** Tables of which the service deletes rows. */
const DELETES_FROM = ['suspended_wallets', 'key_reservations', 'key_usage', 'key_sightings']

/**
 * Gives a role what the service needs of a migrated database, and takes everything else from it. The role owns nothing, so it can
 * neither disable a trigger nor change a table. Throws where the role has the rights of the tables' owner.
 */
export async function grantToService(url: string, role: string): Promise<void> {
  const client = postgres(url, { max: 1, connect_timeout: 10, onnotice: () => {} })
  try {
    await client.begin(async (tx) => {
      await requireOther(tx, role)
      for (const statement of grants(quoted(role))) await tx.unsafe(statement)
    })
  } finally {
    await client.end({ timeout: 5 })
  }
}

async function requireOther(tx: postgres.TransactionSql, role: string): Promise<void> {
  const [found] = await tx<{ isOwner: boolean }[]>`
    SELECT rolsuper OR pg_has_role(oid, (SELECT relowner FROM pg_class WHERE oid = 'public.audit_events'::regclass), 'MEMBER')
      AS "isOwner" FROM pg_roles WHERE rolname = ${role}`
  if (found === undefined) throw new Error(`SERVICE_ROLE: there is no role ${role}`)
  if (found.isOwner) throw new Error(`SERVICE_ROLE: ${role} has the rights of the tables' owner`)
}

function grants(role: string): string[] {
  const list = (tables: readonly string[]) => tables.map((table) => `public.${table}`).join(', ')
  return [
    `REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ${role}`,
    'REVOKE CREATE ON SCHEMA public FROM PUBLIC',
    `REVOKE CREATE ON SCHEMA public FROM ${role}`,
    `GRANT USAGE ON SCHEMA public, drizzle TO ${role}`,
    `GRANT SELECT ON drizzle.__drizzle_migrations TO ${role}`,
    `GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role}`,
    `GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO ${role}`,
    `REVOKE UPDATE ON ${list(APPEND_ONLY)} FROM ${role}`,
    `GRANT DELETE ON ${list(DELETES_FROM)} TO ${role}`,
  ]
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
