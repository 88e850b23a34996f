import { type SQL, sql } from 'drizzle-orm'
import type { Mac } from '../../src/crypto/mac.ts'
import { type Database, rows } from '../../src/db/database.ts'
import { type RightsValues, readRights, rightsText } from '../../src/keys/rights.ts'
import { RIGHTS } from '../../src/keys/terms-sql.ts'

/** Writes the MACs of keys as they are in their rows, which takes the encryption key. */
export async function writeMacs(db: Database, mac: Mac, which: SQL): Promise<void> {
  const found = await rows<{ rights: RightsValues }>(
    db,
    sql`SELECT ${RIGHTS} AS rights FROM api_keys WHERE ${which}`,
  )
  const keys = found.map(({ rights }) => readRights(rights))
  const array = (texts: string[]) => `{${texts.join(',')}}`
  await rows(
    db,
    sql`UPDATE api_keys SET rights_mac = decode(computed.mac, 'hex')
      FROM unnest(${array(keys.map(({ id }) => id))}::text::text[],
        ${array(keys.map((rights) => mac(rightsText(rights))))}::text::text[]) AS computed (key_id, mac)
      WHERE id = computed.key_id`,
  )
}
