CREATE TABLE "wallets" (
	"address" text PRIMARY KEY NOT NULL
);
