import { type SQL, sql } from 'drizzle-orm'
import type { Mac } from '../../src/crypto/mac.ts'
import { type Database, rows } from '../../src/db/database.ts'
import { RIGHTS } from '../../src/db/rights.ts'
import { type RightsRow, rightsText } from '../../src/keys/rights.ts'

/** Seals keys as they are in their rows, as only who has the encryption key can. */
export async function reseal(db: Database, mac: Mac, which: SQL): Promise<void> {
  const keys = await rows<{ rights: RightsRow }>(
    db,
    sql`SELECT ${RIGHTS} AS rights FROM api_keys WHERE ${which}`,
  )
  const array = (texts: string[]) => `{${texts.join(',')}}`
  await rows(
    db,
    sql`UPDATE api_keys SET rights_mac = decode(seal.mac, 'hex')
      FROM unnest(${array(keys.map(({ rights }) => rights[1]))}::text::text[],
        ${array(keys.map(({ rights }) => mac(rightsText(rights))))}::text::text[]) AS seal (key_id, mac)
      WHERE id = seal.key_id`,
  )
}
