CREATE TABLE "audit_events" (
	"wallet_address" text NOT NULL,
	"sequence" bigint NOT NULL,
	"key_id" text,
	"action_id" bigint,
	"body" text NOT NULL,
	"hash" "bytea" NOT NULL,
	CONSTRAINT "audit_events_pk" PRIMARY KEY("wallet_address","sequence")
);
--> statement-breakpoint
CREATE TABLE "key_reservations" (
	"key_id" text NOT NULL,
	"order_uuid" text NOT NULL,
	"token" text NOT NULL,
	"day" integer NOT NULL,
	"amount" numeric(39, 0) NOT NULL,
	"holders" integer DEFAULT 1 NOT NULL,
	CONSTRAINT "key_reservations_pk" PRIMARY KEY("order_uuid","key_id")
);
--> statement-breakpoint
CREATE TABLE "key_sightings" (
	"key_id" text NOT NULL,
	"kind" text NOT NULL,
	"value" text NOT NULL,
	"requests" bigint DEFAULT 0 NOT NULL,
	"first_seen_at" timestamp (3) with time zone NOT NULL,
	"last_seen_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "key_sightings_pk" PRIMARY KEY("key_id","kind","value")
);
--> statement-breakpoint
CREATE TABLE "key_spending" (
	"key_id" text NOT NULL,
	"token" text NOT NULL,
	"day" integer NOT NULL,
	"amount" numeric(60, 0) NOT NULL,
	CONSTRAINT "key_spending_pk" PRIMARY KEY("key_id","token","day"),
	CONSTRAINT "key_spending_amount" CHECK ("key_spending"."amount" >= 0)
);
--> statement-breakpoint
CREATE TABLE "key_usage" (
	"key_id" text NOT NULL,
	"hour" timestamp (3) with time zone NOT NULL,
	"outcome" text NOT NULL,
	"requests" bigint DEFAULT 0 NOT NULL,
	"executions" bigint DEFAULT 0 NOT NULL,
	"execution_ms" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "key_usage_pk" PRIMARY KEY("key_id","hour","outcome")
);
--> statement-breakpoint
CREATE TABLE "sessions" (
	"id" text PRIMARY KEY NOT NULL,
	"secret_hash" "bytea" NOT NULL,
	"wallet_address" text NOT NULL,
	"grant_id" bigint NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"ended_at" timestamp (3) with time zone,
	"mac" "bytea" NOT NULL,
	CONSTRAINT "sessions_hash" UNIQUE("secret_hash")
);
--> statement-breakpoint
CREATE TABLE "suspended_wallets" (
	"wallet_address" text PRIMARY KEY NOT NULL,
	"reason" text NOT NULL,
	"suspended_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "tokens" text[];--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "recipients" text[];--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "max_amount_in" jsonb;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "own_orders_only" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "label" text;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "justification" text;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "previous_key_hash" "bytea";--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "previous_until" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "rights_mac" "bytea";--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "suspended_by" text;--> statement-breakpoint
ALTER TABLE "audit_events" ADD CONSTRAINT "audit_events_action_id_signed_actions_id_fk" FOREIGN KEY ("action_id") REFERENCES "public"."signed_actions"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "key_reservations" ADD CONSTRAINT "key_reservations_key_id_api_keys_id_fk" FOREIGN KEY ("key_id") REFERENCES "public"."api_keys"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "key_spending" ADD CONSTRAINT "key_spending_key_id_api_keys_id_fk" FOREIGN KEY ("key_id") REFERENCES "public"."api_keys"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "sessions" ADD CONSTRAINT "sessions_grant_id_signed_actions_id_fk" FOREIGN KEY ("grant_id") REFERENCES "public"."signed_actions"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "audit_events_key" ON "audit_events" USING btree ("key_id");--> statement-breakpoint
CREATE INDEX "key_reservations_key" ON "key_reservations" USING btree ("key_id","day");--> statement-breakpoint
CREATE INDEX "key_usage_hour" ON "key_usage" USING btree ("hour");--> statement-breakpoint
CREATE INDEX "sessions_wallet" ON "sessions" USING btree ("wallet_address","created_at");--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_previous_hash" UNIQUE("previous_key_hash");--> statement-breakpoint
CREATE FUNCTION "refuse_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
--> statement-breakpoint
-- Only who owns the table can take this away again.
CREATE TRIGGER "audit_events_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "audit_events" FOR EACH STATEMENT EXECUTE FUNCTION "refuse_change"();
