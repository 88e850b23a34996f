CREATE INDEX "api_keys_unended" ON "api_keys" USING btree ("wallet_address","revoked_at","expires_at");--> statement-breakpoint
CREATE INDEX "api_keys_preview" ON "api_keys" USING btree ("key_preview");--> statement-breakpoint
CREATE INDEX "api_keys_created" ON "api_keys" USING btree ("created_at","grant_id");--> statement-breakpoint
CREATE INDEX "orders_owner_status" ON "orders" USING btree ("owner","status","sequence");--> statement-breakpoint
CREATE INDEX "sessions_unended" ON "sessions" USING btree ("wallet_address","expires_at") WHERE "sessions"."ended_at" IS NULL;