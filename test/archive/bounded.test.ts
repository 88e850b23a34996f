import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { temporaryFolder } from '../cli/latchkey.ts'
import { startService } from '../support/service.ts'
import { liveThrough, makeArchive } from './old-life.ts'

const YOUNG = 3_000
const PAGE_OF_ORDERS = /FROM orders WHERE sequence >/
const PAGE_OF_ACTIONS = /FROM signed_actions WHERE id >/

it('an archive reads no further than a page of messages or orders that are all too young', {
  timeout: 60_000,
}, async () => {
  const service = await startService('Postgres')
  await liveThrough(service)
  await rows(
    service.world.db,
    sql`INSERT INTO signed_actions SELECT (jsonb_populate_record(signed_actions, jsonb_build_object('id', (SELECT max(id) FROM signed_actions) + n,
        'message_hash', ${'\\x'}::text || md5('young' || n), 'accepted_at', now()))).*
      FROM signed_actions, generate_series(1, ${YOUNG}::int) AS n WHERE id = (SELECT min(id) FROM signed_actions WHERE action = 'cancel_order')`,
  )
  await rows(
    service.world.db,
    sql`INSERT INTO orders SELECT (jsonb_populate_record(orders, jsonb_build_object('uuid', 'young-' || n,
        'sequence', (SELECT max(sequence) FROM orders) + n, 'created_at', now()))).*
      FROM orders, generate_series(1, ${YOUNG}::int) AS n WHERE sequence = (SELECT min(sequence) FROM orders)`,
  )
  const from = service.statements.length
  const made = await makeArchive(service, temporaryFolder())
  expect(made.rows).toMatchObject({ action: 1, event: 14, order: 1 })
  const pages = service.statements.slice(from)
  expect(pages.filter((text) => PAGE_OF_ACTIONS.test(text))).toHaveLength(2)
  expect(pages.filter((text) => PAGE_OF_ORDERS.test(text))).toHaveLength(2)
  await service.close()
})
