CREATE TABLE "key_findings" (
	"key_id" text NOT NULL,
	"rule" text NOT NULL,
	"subject" text NOT NULL,
	"wallet_address" text NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	"details" jsonb NOT NULL,
	"acted_at" timestamp (3) with time zone,
	"shard" integer NOT NULL,
	CONSTRAINT "key_findings_pk" PRIMARY KEY("key_id","rule","subject"),
	CONSTRAINT "key_findings_shard" CHECK (shard = wallet_shard(wallet_address))
);
--> statement-breakpoint
CREATE TABLE "key_rates" (
	"key_id" text NOT NULL,
	"seconds" integer NOT NULL,
	"window" integer NOT NULL,
	"requests" bigint DEFAULT 0 NOT NULL,
	"refused" bigint DEFAULT 0 NOT NULL,
	"shard" integer NOT NULL,
	CONSTRAINT "key_rates_pk" PRIMARY KEY("key_id","seconds","window")
);
--> statement-breakpoint
CREATE TABLE "key_watches" (
	"key_id" text NOT NULL,
	"rule" text NOT NULL,
	"wallet_address" text NOT NULL,
	"armed_at" timestamp (3) with time zone NOT NULL,
	"due_at" timestamp (3) with time zone NOT NULL,
	"silent_since" timestamp (3) with time zone,
	"shard" integer NOT NULL,
	CONSTRAINT "key_watches_pk" PRIMARY KEY("key_id","rule"),
	CONSTRAINT "key_watches_shard" CHECK (shard = wallet_shard(wallet_address))
);
--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "heartbeat" jsonb;--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "alerts" jsonb;--> statement-breakpoint
ALTER TABLE "key_spending" ADD COLUMN "hour" integer;--> statement-breakpoint
ALTER TABLE "key_spending" ADD COLUMN "hour_amount" numeric(60, 0);--> statement-breakpoint
ALTER TABLE "key_watches" ADD CONSTRAINT "key_watches_key_id_api_keys_id_fk" FOREIGN KEY ("key_id") REFERENCES "public"."api_keys"("id") ON DELETE cascade ON UPDATE cascade;--> statement-breakpoint
CREATE INDEX "key_findings_open" ON "key_findings" USING btree ("at") WHERE "key_findings"."acted_at" IS NULL;--> statement-breakpoint
CREATE INDEX "key_findings_at" ON "key_findings" USING btree ("at");--> statement-breakpoint
CREATE INDEX "key_watches_due" ON "key_watches" USING btree ("due_at");