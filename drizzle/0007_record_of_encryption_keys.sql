CREATE TABLE "encryption_keys" (
	"fingerprint" "bytea" PRIMARY KEY NOT NULL,
	"recorded_at" timestamp (3) with time zone DEFAULT clock_timestamp() NOT NULL
);
