/**
 * The number of this release. It rises with each release whose rows or locks another one does not know, and is recorded in
 * the database when that is migrated. 1 was the release without a record; 2 names no shards.
 */
export const RELEASE = 3

/** The oldest release that may run on a database that this one has migrated. Once its tables are distributed, this one is. */
export const OLDEST_RELEASE = 2

/** What is recorded: the release that migrated last, and the oldest one that may run beside it. */
export interface RecordedRelease {
  release: number
  oldest: number
}

/** Why this release must not run on a database; undefined when it may. */
export function releaseProblem({ release, oldest }: RecordedRelease): string | undefined {
  if (oldest <= RELEASE) return undefined
  return `The database was migrated by release ${release}, which runs with release ${oldest} and newer ones only; this is release ${RELEASE}. Start the newer release, or restore a backup from before the migration`
}

/**
 * What keeps the release without a record from what it must not do beside this one: it reads no number. Its orders have no MACs, and
 * its claims do not note that an intent became public. SQLSTATE 57P03 is an outage to it, so that its callers get 503 and
 * repeat the request, at a process of this release in the end.
 */
export const GUARDS = [
  `CREATE OR REPLACE FUNCTION refuse_older_release() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF TG_TABLE_NAME = 'orders' THEN
      IF NEW.terms_mac IS NOT NULL AND NEW.state_mac IS NOT NULL THEN RETURN NEW; END IF;
    ELSIF NEW.kind <> 'swap' OR NOT EXISTS (
      SELECT FROM orders WHERE uuid = NEW.order_uuid AND disclosed_at IS NULL
    ) THEN
      RETURN NEW;
    END IF;
    RAISE EXCEPTION 'the database was migrated by release %, which does not admit this write by an older one',
      (SELECT max(release) FROM latchkey_releases) USING ERRCODE = '57P03';
  END $$`,
  `CREATE OR REPLACE TRIGGER orders_of_this_release BEFORE INSERT ON orders
    FOR EACH ROW EXECUTE FUNCTION refuse_older_release()`,
  `CREATE OR REPLACE TRIGGER transactions_of_this_release BEFORE INSERT ON transactions
    FOR EACH ROW EXECUTE FUNCTION refuse_older_release()`,
]
