CREATE TABLE "service_credentials" (
	"id" text PRIMARY KEY NOT NULL,
	"secret_hash" "bytea" NOT NULL,
	"preview" text NOT NULL,
	"name" text NOT NULL,
	"scopes" text[] NOT NULL,
	"rate_limit_per_minute" integer NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"revoked_at" timestamp (3) with time zone,
	"mac" "bytea" NOT NULL,
	"minute_window" integer DEFAULT 0 NOT NULL,
	"minute_count" integer DEFAULT 0 NOT NULL,
	"total_requests" bigint DEFAULT 0 NOT NULL,
	"last_used_at" timestamp (3) with time zone,
	CONSTRAINT "service_credentials_hash" UNIQUE("secret_hash"),
	CONSTRAINT "service_credentials_hash_length" CHECK (octet_length("service_credentials"."secret_hash") = 32)
);
