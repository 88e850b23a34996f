-- Takes the table's lock against writers, so that no release counts a request between the copy below and its commit. From then on
-- a process of an earlier release, which would count in columns that nothing else reads, is refused as during an outage: it
-- responds with 503 to every request with a key, admits none and counts none.
CREATE FUNCTION "refuse_old_counters"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'the counters of keys are in key_counters' USING ERRCODE = 'cannot_connect_now';
END
$$;
--> statement-breakpoint
CREATE TRIGGER "api_keys_counters_moved" BEFORE UPDATE OF "last_used_at", "minute_window", "minute_count", "hour_window", "hour_count", "day_window", "day_count", "total_requests", "successful_requests", "creation_count", "execution_count", "cancellation_count" ON "api_keys" FOR EACH STATEMENT EXECUTE FUNCTION "refuse_old_counters"();
--> statement-breakpoint
CREATE TABLE "key_counters" (
	"key_id" text PRIMARY KEY NOT NULL,
	"minute_window" integer DEFAULT 0 NOT NULL,
	"minute_count" integer DEFAULT 0 NOT NULL,
	"hour_window" integer DEFAULT 0 NOT NULL,
	"hour_count" integer DEFAULT 0 NOT NULL,
	"day_window" integer DEFAULT 0 NOT NULL,
	"day_count" integer DEFAULT 0 NOT NULL,
	"total_requests" bigint DEFAULT 0 NOT NULL,
	"last_used_at" timestamp (3) with time zone,
	"successful_requests" bigint DEFAULT 0 NOT NULL,
	"creation_count" bigint DEFAULT 0 NOT NULL,
	"execution_count" bigint DEFAULT 0 NOT NULL,
	"cancellation_count" bigint DEFAULT 0 NOT NULL,
	CONSTRAINT "key_counters_success" CHECK ("key_counters"."successful_requests" <= "key_counters"."total_requests")
);
--> statement-breakpoint
-- Room in each page for the next version of its rows: a request then changes one page and no index.
ALTER TABLE "key_counters" SET (fillfactor = 50);
--> statement-breakpoint
INSERT INTO "key_counters" SELECT "id", "minute_window", "minute_count", "hour_window", "hour_count", "day_window", "day_count", "total_requests", "last_used_at", "successful_requests", "creation_count", "execution_count", "cancellation_count" FROM "api_keys";
--> statement-breakpoint
ALTER TABLE "key_counters" ADD CONSTRAINT "key_counters_key_id_api_keys_id_fk" FOREIGN KEY ("key_id") REFERENCES "public"."api_keys"("id") ON DELETE cascade ON UPDATE cascade;
--> statement-breakpoint
-- By the database, so that no release creates a key without counters.
CREATE FUNCTION "create_key_counters"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO "key_counters" ("key_id") SELECT "id" FROM "created";
	RETURN NULL;
END
$$;
--> statement-breakpoint
CREATE TRIGGER "api_keys_have_counters" AFTER INSERT ON "api_keys" REFERENCING NEW TABLE AS "created" FOR EACH STATEMENT EXECUTE FUNCTION "create_key_counters"();
