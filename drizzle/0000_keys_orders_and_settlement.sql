CREATE TABLE "api_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"key_hash" "bytea" NOT NULL,
	"key_preview" text NOT NULL,
	"wallet_address" text NOT NULL,
	"name" text NOT NULL,
	"permissions" text[] NOT NULL,
	"rate_limit_per_minute" integer,
	"ip_allowlist" "cidr"[],
	"grant_id" bigint NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone,
	"suspended_at" timestamp (3) with time zone,
	"revoked_at" timestamp (3) with time zone,
	"last_used_at" timestamp (3) with time zone,
	"minute_window" bigint DEFAULT 0 NOT NULL,
	"minute_count" integer DEFAULT 0 NOT NULL,
	"hour_window" bigint DEFAULT 0 NOT NULL,
	"hour_count" integer DEFAULT 0 NOT NULL,
	"day_window" bigint DEFAULT 0 NOT NULL,
	"day_count" integer DEFAULT 0 NOT NULL,
	"total_requests" bigint DEFAULT 0 NOT NULL,
	"successful_requests" bigint DEFAULT 0 NOT NULL,
	"creation_count" bigint DEFAULT 0 NOT NULL,
	"execution_count" bigint DEFAULT 0 NOT NULL,
	"cancellation_count" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "api_keys_hash" UNIQUE("key_hash"),
	CONSTRAINT "api_keys_hash_length" CHECK (octet_length("api_keys"."key_hash") = 32),
	CONSTRAINT "api_keys_success" CHECK ("api_keys"."successful_requests" <= "api_keys"."total_requests")
);
--> statement-breakpoint
CREATE TABLE "operators" (
	"address" text PRIMARY KEY NOT NULL,
	"next_nonce" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "orders" (
	"uuid" text PRIMARY KEY NOT NULL,
	"sequence" bigserial NOT NULL,
	"owner" text NOT NULL,
	"input_token" text NOT NULL,
	"output_token" text NOT NULL,
	"amount_in" numeric(39, 0) NOT NULL,
	"recipient" text NOT NULL,
	"target_price" text,
	"direction" text,
	"condition_token" text,
	"base_asset" text,
	"valid_from" timestamp (3) with time zone,
	"valid_to" timestamp (3) with time zone,
	"signature_box" "bytea" NOT NULL,
	"status" text DEFAULT 'open' NOT NULL,
	"created_by" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"cancelled_at" timestamp (3) with time zone,
	"executed_at" timestamp (3) with time zone,
	"failed_at" timestamp (3) with time zone,
	"failure_reason" text,
	"txid" text,
	CONSTRAINT "orders_sequence" UNIQUE("sequence"),
	CONSTRAINT "orders_status_known" CHECK ("orders"."status" IN ('open', 'executing', 'broadcasted', 'confirmed', 'failed', 'cancelled')),
	CONSTRAINT "orders_amount_positive" CHECK ("orders"."amount_in" > 0)
);
--> statement-breakpoint
CREATE TABLE "signed_actions" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"wallet_address" text NOT NULL,
	"action" text NOT NULL,
	"message" text NOT NULL,
	"message_hash" "bytea" NOT NULL,
	"signature" text NOT NULL,
	"public_key" text NOT NULL,
	"accepted_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "signed_actions_once" UNIQUE("wallet_address","message_hash")
);
--> statement-breakpoint
CREATE TABLE "transactions" (
	"txid" text PRIMARY KEY NOT NULL,
	"order_uuid" text NOT NULL,
	"operator" text NOT NULL,
	"nonce" bigint NOT NULL,
	"fee_in_micro_stx" bigint NOT NULL,
	"raw_box" "bytea" NOT NULL,
	"requested_by" text,
	"status" text DEFAULT 'signed' NOT NULL,
	"reason" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"answered_at" timestamp (3) with time zone,
	CONSTRAINT "transactions_status_known" CHECK ("transactions"."status" IN ('signed', 'accepted', 'refused'))
);
--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_grant_id_signed_actions_id_fk" FOREIGN KEY ("grant_id") REFERENCES "public"."signed_actions"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "orders" ADD CONSTRAINT "orders_created_by_api_keys_id_fk" FOREIGN KEY ("created_by") REFERENCES "public"."api_keys"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "transactions" ADD CONSTRAINT "transactions_order_uuid_orders_uuid_fk" FOREIGN KEY ("order_uuid") REFERENCES "public"."orders"("uuid") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "transactions" ADD CONSTRAINT "transactions_operator_operators_address_fk" FOREIGN KEY ("operator") REFERENCES "public"."operators"("address") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "transactions" ADD CONSTRAINT "transactions_requested_by_api_keys_id_fk" FOREIGN KEY ("requested_by") REFERENCES "public"."api_keys"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "api_keys_wallet" ON "api_keys" USING btree ("wallet_address","created_at");--> statement-breakpoint
CREATE INDEX "orders_owner" ON "orders" USING btree ("owner","sequence");--> statement-breakpoint
CREATE INDEX "orders_status" ON "orders" USING btree ("status","sequence");--> statement-breakpoint
CREATE INDEX "transactions_order" ON "transactions" USING btree ("order_uuid");--> statement-breakpoint
CREATE INDEX "transactions_unanswered" ON "transactions" USING btree ("created_at") WHERE "transactions"."status" = 'signed';