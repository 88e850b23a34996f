CREATE TABLE "order_events" (
	"id" bigserial PRIMARY KEY NOT NULL,
	"order_uuid" text NOT NULL,
	"status" text NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	"details" jsonb
);
--> statement-breakpoint
ALTER TABLE "orders" DROP CONSTRAINT "orders_status_known";--> statement-breakpoint
ALTER TABLE "transactions" DROP CONSTRAINT "transactions_status_known";--> statement-breakpoint
ALTER TABLE "transactions" ALTER COLUMN "order_uuid" DROP NOT NULL;--> statement-breakpoint
ALTER TABLE "operators" ADD COLUMN "chain_nonce" bigint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "operators" ADD COLUMN "chain_nonce_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "block_height" bigint;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "confirmed_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "amount_out" numeric(39, 0);--> statement-breakpoint
ALTER TABLE "transactions" ADD COLUMN "kind" text DEFAULT 'swap' NOT NULL;--> statement-breakpoint
ALTER TABLE "transactions" ADD COLUMN "mined_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "transactions" ADD COLUMN "block_height" bigint;--> statement-breakpoint
ALTER TABLE "transactions" ADD COLUMN "outcome" text;--> statement-breakpoint
ALTER TABLE "transactions" ADD COLUMN "check_at" timestamp (3) with time zone DEFAULT now();--> statement-breakpoint
ALTER TABLE "transactions" ADD COLUMN "looks" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "transactions" ADD COLUMN "misses" integer DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "order_events" ADD CONSTRAINT "order_events_order_uuid_orders_uuid_fk" FOREIGN KEY ("order_uuid") REFERENCES "public"."orders"("uuid") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "order_events_of" ON "order_events" USING btree ("order_uuid","id");--> statement-breakpoint
CREATE INDEX "orders_open_until" ON "orders" USING btree ("valid_to") WHERE "orders"."status" = 'open';--> statement-breakpoint
CREATE INDEX "transactions_due" ON "transactions" USING btree ("check_at") WHERE "transactions"."check_at" IS NOT NULL;--> statement-breakpoint
CREATE INDEX "transactions_nonce" ON "transactions" USING btree ("operator","nonce");--> statement-breakpoint
ALTER TABLE "orders" ADD CONSTRAINT "orders_status_known" CHECK ("orders"."status" IN ('open', 'executing', 'broadcasted', 'confirmed', 'failed', 'cancelled', 'expired'));--> statement-breakpoint
ALTER TABLE "transactions" ADD CONSTRAINT "transactions_status_known" CHECK ("transactions"."status" IN ('signed', 'accepted', 'outbid', 'mined', 'replaced', 'refused'));