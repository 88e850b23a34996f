ALTER TABLE "orders" ADD COLUMN "router_contract" text;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "min_amount_out" numeric(39, 0);--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "commit_salt" "bytea";--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "commit_until" bigint;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "committed_by" text;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "terms_mac" "bytea";--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "state_mac" "bytea";--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "disclosed_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "burn_requested_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "orders" ADD COLUMN "uuid_used_at" timestamp (3) with time zone;--> statement-breakpoint
CREATE INDEX "orders_settling" ON "orders" USING btree ("owner") WHERE "orders"."status" IN ('executing', 'broadcasted');--> statement-breakpoint
CREATE INDEX "orders_failed" ON "orders" USING btree ("owner","failed_at") WHERE "orders"."status" = 'failed';--> statement-breakpoint
CREATE INDEX "orders_to_burn" ON "orders" USING btree ("burn_requested_at") WHERE "orders"."burn_requested_at" IS NOT NULL AND "orders"."uuid_used_at" IS NULL;--> statement-breakpoint
CREATE INDEX "transactions_burns" ON "transactions" USING btree ("created_at") WHERE "transactions"."kind" = 'burn';--> statement-breakpoint
-- Whatever was signed for an order may have reached a node.
UPDATE "orders" SET "disclosed_at" = coalesce("executed_at", "failed_at", "created_at")
  WHERE EXISTS (SELECT FROM "transactions" WHERE "order_uuid" = "uuid");--> statement-breakpoint
UPDATE "orders" SET "uuid_used_at" = coalesce("confirmed_at", "created_at") WHERE "status" = 'confirmed';--> statement-breakpoint
-- The intents of those that ended unsettled are public, and good until their uuids are burnt.
UPDATE "orders" SET "burn_requested_at" = coalesce("failed_at", "cancelled_at", "disclosed_at")
  WHERE "disclosed_at" IS NOT NULL AND "status" IN ('failed', 'cancelled', 'expired');--> statement-breakpoint
-- An order that has ended never opens again: its events say so, whatever its row says.
CREATE TRIGGER "order_events_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "order_events" FOR EACH STATEMENT EXECUTE FUNCTION "refuse_change"();
