CREATE INDEX "audit_events_action" ON "audit_events" USING btree ("action_id");--> statement-breakpoint
CREATE INDEX "signed_actions_recorded" ON "signed_actions" USING btree ("wallet_address","id") WHERE "action" IN ('create_api_key', 'update_api_key', 'rotate_api_key', 'suspend_api_key', 'resume_api_key', 'delete_api_key', 'revoke_api_key', 'revoke_all_api_keys', 'create_session');--> statement-breakpoint
-- A signed message that has no event any more shows that the event was cut out of the audit.
CREATE TRIGGER "signed_actions_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "signed_actions" FOR EACH STATEMENT EXECUTE FUNCTION "refuse_change"();
