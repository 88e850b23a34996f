-- The shard of a wallet, as src/db/shard.ts computes it: the first 16 bits of SHA-256 of its address. A backslash is escaped, so that
-- every text is its own bytes.
CREATE FUNCTION "wallet_shard"("wallet" text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
	SELECT get_byte(sha256(decode(replace($1, chr(92), repeat(chr(92), 2)), 'escape')), 0) * 256 + get_byte(sha256(decode(replace($1, chr(92), repeat(chr(92), 2)), 'escape')), 1)
$$;
--> statement-breakpoint
-- A generated column fills the rows, also of tables whose rows no UPDATE may touch. It then becomes an ordinary one: a table cannot be
-- distributed by a generated column.
ALTER TABLE "wallets" ADD COLUMN "shard" integer GENERATED ALWAYS AS (wallet_shard("address")) STORED NOT NULL;
--> statement-breakpoint
ALTER TABLE "wallets" ALTER COLUMN "shard" DROP EXPRESSION;
--> statement-breakpoint
ALTER TABLE "wallets" ADD CONSTRAINT "wallets_shard" CHECK (shard = wallet_shard(address));
--> statement-breakpoint
ALTER TABLE "signed_actions" ADD COLUMN "shard" integer GENERATED ALWAYS AS (wallet_shard("wallet_address")) STORED NOT NULL;
--> statement-breakpoint
ALTER TABLE "signed_actions" ALTER COLUMN "shard" DROP EXPRESSION;
--> statement-breakpoint
ALTER TABLE "signed_actions" ADD CONSTRAINT "signed_actions_shard" CHECK (shard = wallet_shard(wallet_address));
--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "shard" integer GENERATED ALWAYS AS (wallet_shard("wallet_address")) STORED NOT NULL;
--> statement-breakpoint
ALTER TABLE "api_keys" ALTER COLUMN "shard" DROP EXPRESSION;
--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_shard" CHECK (shard = wallet_shard(wallet_address));
--> statement-breakpoint
ALTER TABLE "sessions" ADD COLUMN "shard" integer GENERATED ALWAYS AS (wallet_shard("wallet_address")) STORED NOT NULL;
--> statement-breakpoint
ALTER TABLE "sessions" ALTER COLUMN "shard" DROP EXPRESSION;
--> statement-breakpoint
ALTER TABLE "sessions" ADD CONSTRAINT "sessions_shard" CHECK (shard = wallet_shard(wallet_address));
--> statement-breakpoint
ALTER TABLE "audit_events" ADD COLUMN "shard" integer GENERATED ALWAYS AS (wallet_shard("wallet_address")) STORED NOT NULL;
--> statement-breakpoint
ALTER TABLE "audit_events" ALTER COLUMN "shard" DROP EXPRESSION;
--> statement-breakpoint
ALTER TABLE "audit_events" ADD CONSTRAINT "audit_events_shard" CHECK (shard = wallet_shard(wallet_address));
--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "shard" integer GENERATED ALWAYS AS (wallet_shard("owner")) STORED NOT NULL;
--> statement-breakpoint
ALTER TABLE "orders" ALTER COLUMN "shard" DROP EXPRESSION;
--> statement-breakpoint
ALTER TABLE "orders" ADD CONSTRAINT "orders_shard" CHECK (shard = wallet_shard(owner));
--> statement-breakpoint
ALTER TABLE "key_counters" ADD COLUMN "shard" integer;
--> statement-breakpoint
UPDATE "key_counters" SET "shard" = (SELECT "shard" FROM "api_keys" WHERE "id" = "key_id");
--> statement-breakpoint
ALTER TABLE "key_counters" ALTER COLUMN "shard" SET NOT NULL;
--> statement-breakpoint
ALTER TABLE "key_spending" ADD COLUMN "shard" integer;
--> statement-breakpoint
UPDATE "key_spending" SET "shard" = (SELECT "shard" FROM "api_keys" WHERE "id" = "key_id");
--> statement-breakpoint
ALTER TABLE "key_spending" ALTER COLUMN "shard" SET NOT NULL;
--> statement-breakpoint
ALTER TABLE "key_reservations" ADD COLUMN "shard" integer;
--> statement-breakpoint
UPDATE "key_reservations" SET "shard" = (SELECT "shard" FROM "api_keys" WHERE "id" = "key_id");
--> statement-breakpoint
ALTER TABLE "key_reservations" ALTER COLUMN "shard" SET NOT NULL;
--> statement-breakpoint
ALTER TABLE "key_usage" ADD COLUMN "shard" integer;
--> statement-breakpoint
-- Statistics have no foreign key: those of a key that is gone have a shard as well.
UPDATE "key_usage" SET "shard" = coalesce((SELECT "shard" FROM "api_keys" WHERE "id" = "key_id"), 0);
--> statement-breakpoint
ALTER TABLE "key_usage" ALTER COLUMN "shard" SET NOT NULL;
--> statement-breakpoint
ALTER TABLE "key_sightings" ADD COLUMN "shard" integer;
--> statement-breakpoint
UPDATE "key_sightings" SET "shard" = coalesce((SELECT "shard" FROM "api_keys" WHERE "id" = "key_id"), 0);
--> statement-breakpoint
ALTER TABLE "key_sightings" ALTER COLUMN "shard" SET NOT NULL;
--> statement-breakpoint
ALTER TABLE "order_events" ADD COLUMN "shard" integer;
--> statement-breakpoint
ALTER TABLE "order_events" DISABLE TRIGGER "order_events_append_only";
--> statement-breakpoint
UPDATE "order_events" SET "shard" = (SELECT "shard" FROM "orders" WHERE "uuid" = "order_uuid");
--> statement-breakpoint
ALTER TABLE "order_events" ENABLE TRIGGER "order_events_append_only";
--> statement-breakpoint
ALTER TABLE "order_events" ALTER COLUMN "shard" SET NOT NULL;
--> statement-breakpoint
ALTER TABLE "transactions" ADD COLUMN "shard" integer;
--> statement-breakpoint
UPDATE "transactions" SET "shard" = coalesce((SELECT "shard" FROM "orders" WHERE "uuid" = "order_uuid"), wallet_shard("operator"));
--> statement-breakpoint
ALTER TABLE "transactions" ALTER COLUMN "shard" SET NOT NULL;
--> statement-breakpoint
-- For a release that knows no shards and runs beside this one: every statement of this one names them.
CREATE FUNCTION "fill_shard"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
	subject text := to_jsonb(NEW) ->> TG_ARGV[1];
BEGIN
	NEW.shard := CASE TG_ARGV[0]
		WHEN 'wallet' THEN wallet_shard(subject)
		WHEN 'key' THEN coalesce((SELECT "shard" FROM "api_keys" WHERE "id" = subject), 0)
		ELSE coalesce((SELECT "shard" FROM "orders" WHERE "uuid" = subject), wallet_shard(to_jsonb(NEW) ->> 'operator'))
	END;
	RETURN NEW;
END
$$;
--> statement-breakpoint
CREATE TRIGGER "wallets_fill_shard" BEFORE INSERT ON "wallets" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('wallet', 'address');
--> statement-breakpoint
CREATE TRIGGER "signed_actions_fill_shard" BEFORE INSERT ON "signed_actions" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('wallet', 'wallet_address');
--> statement-breakpoint
CREATE TRIGGER "api_keys_fill_shard" BEFORE INSERT ON "api_keys" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('wallet', 'wallet_address');
--> statement-breakpoint
CREATE TRIGGER "sessions_fill_shard" BEFORE INSERT ON "sessions" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('wallet', 'wallet_address');
--> statement-breakpoint
CREATE TRIGGER "audit_events_fill_shard" BEFORE INSERT ON "audit_events" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('wallet', 'wallet_address');
--> statement-breakpoint
CREATE TRIGGER "orders_fill_shard" BEFORE INSERT ON "orders" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('wallet', 'owner');
--> statement-breakpoint
CREATE TRIGGER "key_counters_fill_shard" BEFORE INSERT ON "key_counters" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('key', 'key_id');
--> statement-breakpoint
CREATE TRIGGER "key_spending_fill_shard" BEFORE INSERT ON "key_spending" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('key', 'key_id');
--> statement-breakpoint
CREATE TRIGGER "key_reservations_fill_shard" BEFORE INSERT ON "key_reservations" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('key', 'key_id');
--> statement-breakpoint
CREATE TRIGGER "key_usage_fill_shard" BEFORE INSERT ON "key_usage" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('key', 'key_id');
--> statement-breakpoint
CREATE TRIGGER "key_sightings_fill_shard" BEFORE INSERT ON "key_sightings" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('key', 'key_id');
--> statement-breakpoint
CREATE TRIGGER "order_events_fill_shard" BEFORE INSERT ON "order_events" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('order', 'order_uuid');
--> statement-breakpoint
CREATE TRIGGER "transactions_fill_shard" BEFORE INSERT ON "transactions" FOR EACH ROW WHEN (NEW."shard" IS NULL) EXECUTE FUNCTION "fill_shard"('order', 'order_uuid');
--> statement-breakpoint
CREATE OR REPLACE FUNCTION "create_key_counters"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO "key_counters" ("key_id", "shard") SELECT "id", "shard" FROM "created";
	RETURN NULL;
END
$$;
