CREATE TABLE "deliveries" (
	"notice_id" text NOT NULL,
	"webhook_id" text NOT NULL,
	"state" text DEFAULT 'waiting' NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"due_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone NOT NULL,
	"delivered_at" timestamp (3) with time zone,
	"status" integer,
	"failure" text,
	"shard" integer NOT NULL,
	CONSTRAINT "deliveries_pk" PRIMARY KEY("notice_id","webhook_id"),
	CONSTRAINT "deliveries_state_known" CHECK ("deliveries"."state" IN ('waiting', 'delivered', 'dead')),
	CONSTRAINT "deliveries_waiting_due" CHECK (("deliveries"."state" = 'waiting') = ("deliveries"."due_at" IS NOT NULL))
);
--> statement-breakpoint
CREATE TABLE "notices" (
	"id" text PRIMARY KEY DEFAULT ('msg_' || replace(gen_random_uuid()::text, '-', '')) NOT NULL,
	"sequence" bigserial NOT NULL,
	"wallet_address" text NOT NULL,
	"type" text NOT NULL,
	"key_id" text,
	"order_uuid" text,
	"data" jsonb NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	"shard" integer NOT NULL,
	CONSTRAINT "notices_shard" CHECK (shard = wallet_shard(wallet_address))
);
--> statement-breakpoint
CREATE TABLE "webhooks" (
	"id" text PRIMARY KEY NOT NULL,
	"wallet_address" text,
	"url" text NOT NULL,
	"events" text[] NOT NULL,
	"label" text,
	"secret_box" "bytea" NOT NULL,
	"previous_secret_box" "bytea",
	"previous_until" timestamp (3) with time zone,
	"mac" "bytea" NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"delivered_at" timestamp (3) with time zone,
	"failing_since" timestamp (3) with time zone,
	"last_failure" text,
	"disabled_at" timestamp (3) with time zone,
	"disabled_reason" text,
	"shard" integer NOT NULL,
	CONSTRAINT "webhooks_shard" CHECK (shard = wallet_shard(wallet_address))
);
--> statement-breakpoint
DROP INDEX "signed_actions_recorded";--> statement-breakpoint
CREATE INDEX "deliveries_due" ON "deliveries" USING btree ("webhook_id","due_at") WHERE "deliveries"."due_at" IS NOT NULL;--> statement-breakpoint
CREATE INDEX "deliveries_waiting" ON "deliveries" USING btree ("created_at") WHERE "deliveries"."due_at" IS NOT NULL;--> statement-breakpoint
CREATE INDEX "deliveries_dead" ON "deliveries" USING btree ("webhook_id","created_at") WHERE "deliveries"."state" = 'dead';--> statement-breakpoint
CREATE INDEX "notices_wallet" ON "notices" USING btree ("wallet_address","sequence");--> statement-breakpoint
CREATE INDEX "notices_at" ON "notices" USING btree ("at");--> statement-breakpoint
CREATE INDEX "webhooks_wallet" ON "webhooks" USING btree ("wallet_address");--> statement-breakpoint
CREATE INDEX "signed_actions_recorded" ON "signed_actions" USING btree ("wallet_address","id") WHERE "action" IN ('create_api_key', 'update_api_key', 'rotate_api_key', 'suspend_api_key', 'resume_api_key', 'delete_api_key', 'revoke_api_key', 'revoke_all_api_keys', 'create_session', 'create_webhook', 'update_webhook', 'rotate_webhook_secret', 'delete_webhook');--> statement-breakpoint
-- The webhooks that want a notice of a type about a wallet: those of the wallet, and those of the operator.
CREATE FUNCTION "webhooks_wanting"("wallet" text, "kind" text) RETURNS SETOF text LANGUAGE sql STABLE AS $$
	SELECT "id" FROM "webhooks"
	WHERE ("wallet_address" = $1 AND $2 <> 'audit.head' OR "wallet_address" IS NULL)
		AND "disabled_at" IS NULL AND ($2 = ANY ("events") OR '*' = ANY ("events") AND $2 <> 'webhook.test')
$$;
--> statement-breakpoint
-- One delivery of each notice for each webhook that wants it, in the transaction of the notice.
CREATE FUNCTION "deliver_notices"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO "deliveries" ("notice_id", "webhook_id", "created_at", "due_at", "shard")
	SELECT "id", "webhook_id", "at", "at", "shard"
	FROM "announced", LATERAL "webhooks_wanting"("wallet_address", "type") AS "wanting" ("webhook_id");
	RETURN NULL;
END
$$;
--> statement-breakpoint
-- By the database, so that no change of a key is without its notice, and none has two. Without any webhook it is one look at an empty table.
CREATE FUNCTION "notice_audit_events"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM "webhooks") THEN RETURN NULL; END IF;
	INSERT INTO "notices" ("wallet_address", "shard", "type", "key_id", "data", "at")
	SELECT "wallet_address", "shard", "kind"."type", "key_id", "kind"."data", to_timestamp(("event" ->> 'at')::float8 / 1000)
	-- jsonb has no U+0000, which a body may name.
	FROM (SELECT *, replace("body", E'\\u0000', E'\\ufffd')::jsonb AS "event" FROM "appended") AS "changed",
	LATERAL (
		SELECT jsonb_build_object('sequence', "sequence", 'hash', encode("hash", 'hex')) AS "head"
	) AS "chain",
	LATERAL (
		SELECT 'audit.head' AS "type", "head" AS "data"
		UNION ALL
		SELECT "named"."type", jsonb_strip_nulls(jsonb_build_object(
			'actor', "event" -> 'actor', 'reason', "event" -> 'details' -> 'reason', 'auditHead', "head"))
		FROM (VALUES
			('create_api_key', 'key.created'), ('update_api_key', 'key.changed'), ('rotate_api_key', 'key.rotated'),
			('suspend_api_key', 'key.suspended'), ('resume_api_key', 'key.resumed'), ('delete_api_key', 'key.revoked'),
			('revoke_api_key', 'key.revoked'), ('revoke_all_api_keys', 'key.revoked'),
			('suspend_wallet', 'wallet.suspended'), ('resume_wallet', 'wallet.resumed')
		) AS "named" ("event_name", "type") WHERE "event_name" = "event" ->> 'event'
	) AS "kind"
	WHERE EXISTS (SELECT FROM "webhooks_wanting"("wallet_address", "kind"."type"));
	RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE FUNCTION "notice_order_events"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM "webhooks") THEN RETURN NULL; END IF;
	INSERT INTO "notices" ("wallet_address", "shard", "type", "key_id", "order_uuid", "data", "at")
	SELECT "orders"."owner", "changed"."shard", "kind"."type", "orders"."created_by", "changed"."order_uuid",
		coalesce("changed"."details", '{}') || jsonb_build_object('status', "changed"."status", 'event', "changed"."id"), "changed"."at"
	FROM "inserted" AS "changed"
	JOIN (VALUES
		('open', 'order.open'), ('broadcasted', 'order.broadcast'), ('confirmed', 'order.confirmed'), ('failed', 'order.failed'),
		('cancelled', 'order.cancelled'), ('expired', 'order.expired')
	) AS "kind" ("status", "type") ON "kind"."status" = "changed"."status"
	JOIN "orders" ON "orders"."uuid" = "changed"."order_uuid" AND "orders"."shard" = "changed"."shard"
	WHERE EXISTS (SELECT FROM "webhooks_wanting"("orders"."owner", "kind"."type"));
	RETURN NULL;
END
$$;
--> statement-breakpoint
-- Distributed tables can have no triggers: there are no webhooks there, and what is announced is in the feed alone.
DO $$
BEGIN
	IF to_regclass('latchkey_distribution') IS NOT NULL THEN RETURN; END IF;
	CREATE TRIGGER "notices_delivered" AFTER INSERT ON "notices" REFERENCING NEW TABLE AS "announced"
		FOR EACH STATEMENT EXECUTE FUNCTION "deliver_notices"();
	CREATE TRIGGER "audit_events_noticed" AFTER INSERT ON "audit_events" REFERENCING NEW TABLE AS "appended"
		FOR EACH STATEMENT EXECUTE FUNCTION "notice_audit_events"();
	CREATE TRIGGER "order_events_noticed" AFTER INSERT ON "order_events" REFERENCING NEW TABLE AS "inserted"
		FOR EACH STATEMENT EXECUTE FUNCTION "notice_order_events"();
END
$$;
