CREATE TABLE "request_nonces" (
	"key_id" text NOT NULL,
	"nonce" "bytea" NOT NULL,
	"fresh_until" timestamp (3) with time zone NOT NULL,
	"shard" integer NOT NULL,
	CONSTRAINT "request_nonces_pk" PRIMARY KEY("key_id","nonce")
);
--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "public_key" jsonb;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "require_signature" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "max_signature_age_seconds" integer;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "mac_key_box" "bytea";--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "previous_mac_key_box" "bytea";--> statement-breakpoint
CREATE INDEX "request_nonces_over" ON "request_nonces" USING btree ("fresh_until");