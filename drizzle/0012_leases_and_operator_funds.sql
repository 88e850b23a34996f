CREATE TABLE "leases" (
	"name" text PRIMARY KEY NOT NULL,
	"holder" text NOT NULL,
	"until" timestamp (3) with time zone NOT NULL,
	"operators" text[]
);
--> statement-breakpoint
ALTER TABLE "operators" ADD COLUMN "balance" bigint;--> statement-breakpoint
ALTER TABLE "operators" ADD COLUMN "balance_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "operators" ADD COLUMN "balance_due_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "operators" ADD COLUMN "retired_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "transactions" ADD COLUMN "recipient" text;--> statement-breakpoint
ALTER TABLE "transactions" ADD COLUMN "amount_in_micro_stx" bigint;