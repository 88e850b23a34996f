ALTER TABLE "archives" ADD COLUMN "usage_through" timestamp (3) with time zone;--> statement-breakpoint
CREATE INDEX "key_rates_began" ON "key_rates" USING btree (("window"::bigint * "seconds"));--> statement-breakpoint
CREATE INDEX "key_spending_day" ON "key_spending" USING btree ("day");