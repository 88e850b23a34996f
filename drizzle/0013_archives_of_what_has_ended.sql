CREATE TABLE "archived_audits" (
	"wallet_address" text PRIMARY KEY NOT NULL,
	"shard" integer NOT NULL,
	"body_hashes" "bytea" NOT NULL,
	"action_id" bigint NOT NULL,
	"state" text NOT NULL,
	"mac" "bytea" NOT NULL,
	CONSTRAINT "archived_audits_shard" CHECK (shard = wallet_shard(wallet_address))
);
--> statement-breakpoint
CREATE TABLE "archived_orders" (
	"uuid" text PRIMARY KEY NOT NULL,
	"shard" integer NOT NULL,
	"archive" integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE "archives" (
	"number" integer PRIMARY KEY NOT NULL,
	"before" timestamp (3) with time zone NOT NULL,
	"state" text DEFAULT 'writing' NOT NULL,
	"digest" "bytea",
	"holder" text,
	"lease_until" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "archives_state_known" CHECK ("archives"."state" IN ('writing', 'removing', 'done'))
);
--> statement-breakpoint
CREATE UNIQUE INDEX "archives_open" ON "archives" USING btree ((true)) WHERE "archives"."state" <> 'done';--> statement-breakpoint
CREATE INDEX "api_keys_grant" ON "api_keys" USING btree ("grant_id");--> statement-breakpoint
CREATE INDEX "sessions_grant" ON "sessions" USING btree ("grant_id");--> statement-breakpoint
-- Rows that an archive has leave the tables that no other statement may change. Their owner alone can say so: it could take the trigger
-- away as well.
CREATE OR REPLACE FUNCTION "refuse_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_OP = 'DELETE' AND current_setting('latchkey.archiving', true) = 'on'
		AND pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE') THEN
		RETURN NULL;
	END IF;
	RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
