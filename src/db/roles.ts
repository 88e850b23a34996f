import type postgres from 'postgres'
import { STEPS_TABLE } from './distribution.ts'
import { recordSchemaOf } from './migrate.ts'
import { findRoute, withClient } from './open.ts'
import { quoteIdentifier } from './session.ts'

/** Tables whose rows are never changed; a trigger refuses it as well, and only the owner of the table can disable that. */
const APPEND_ONLY = ['audit_events', 'order_events', 'signed_actions']
/** Tables that only an archive writes, which the owner of the tables makes. */
const OF_ARCHIVES = ['archives', 'archived_orders']
/** Tables of which the service deletes rows. */
const DELETES_FROM = [
  'suspended_wallets',
  'key_reservations',
  'key_spending',
  'key_usage',
  'key_sightings',
  'request_nonces',
  'key_watches',
  'key_rates',
  'key_findings',
  'leases',
  'webhooks',
  'notices',
  'deliveries',
]

/**
 * Gives a role what the service needs of a migrated database, and takes everything else from it. The role owns nothing, so it can
 * neither disable a trigger nor change a table. Throws where the role has the rights of the tables' owner.
 */
export async function grantToService(url: string, role: string): Promise<void> {
  const { route, state } = await findRoute(url)
  await withClient(route, {}, (client) =>
    client.begin(async (tx) => {
      await requireOther(tx, role, state.schema)
      const [found] = await tx<{ exists: boolean }[]>`
        SELECT to_regclass(${`${quoteIdentifier(state.schema)}.${STEPS_TABLE}`}) IS NOT NULL AS exists`
      const records = ['latchkey_releases', ...(found?.exists === true ? [STEPS_TABLE] : [])]
      for (const statement of grants(quoteIdentifier(role), state.schema, records))
        await tx.unsafe(statement)
    }),
  )
}

async function requireOther(
  tx: postgres.TransactionSql,
  role: string,
  schema: string,
): Promise<void> {
  const [found] = await tx<{ isOwner: boolean }[]>`
    SELECT rolsuper OR pg_has_role(oid, (SELECT relowner FROM pg_class
        WHERE relname = 'audit_events' AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = ${schema})), 'MEMBER')
      AS "isOwner" FROM pg_roles WHERE rolname = ${role}`
  if (found === undefined) throw new Error(`SERVICE_ROLE: there is no role ${role}`)
  if (found.isOwner) throw new Error(`SERVICE_ROLE: ${role} has the rights of the tables' owner`)
}

/** `records`: tables beside those of the service that only the owner changes. The steps of a distribution are run as the owner. */
function grants(role: string, name: string, records: readonly string[]): string[] {
  const schema = quoteIdentifier(name)
  const recordSchema = quoteIdentifier(recordSchemaOf(name))
  const list = (tables: readonly string[]) => tables.map((table) => `${schema}.${table}`).join(', ')
  const recorded = `${recordSchema}.__drizzle_migrations, ${list(records)}`
  return [
    `REVOKE ALL ON ALL TABLES IN SCHEMA ${schema} FROM ${role}`,
    `REVOKE CREATE ON SCHEMA ${schema} FROM PUBLIC`,
    `REVOKE CREATE ON SCHEMA ${schema} FROM ${role}`,
    `GRANT USAGE ON SCHEMA ${schema}, ${recordSchema} TO ${role}`,
    `GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${schema} TO ${role}`,
    `GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA ${schema} TO ${role}`,
    `REVOKE UPDATE ON ${list(APPEND_ONLY)} FROM ${role}`,
    `REVOKE INSERT, UPDATE ON ${list(OF_ARCHIVES)} FROM ${role}`,
    `GRANT DELETE ON ${list(DELETES_FROM)} TO ${role}`,
    `REVOKE ALL ON ${recorded} FROM ${role}`,
    `GRANT SELECT ON ${recorded} TO ${role}`,
  ]
}
