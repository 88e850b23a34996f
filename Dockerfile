# The service for production: testnet or mainnet with a Postgres. The local chain of a devnet is a development package and not in it.
# Build: docker build -t latchkey .   Run: see deploy/compose.yaml and docs/operations.md.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# No package needs an install script, and none gets to run one.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY src src
RUN npm run build:page
RUN npm prune --omit=dev --ignore-scripts --no-audit --no-fund

# glibc, libstdc++ and certificates: no shell, no package manager. Node is the one of the lock, which the tests ran on.
FROM gcr.io/distroless/cc-debian12:nonroot
WORKDIR /app
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/build build
COPY src src
COPY drizzle drizzle
COPY package.json LICENSE ./
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8787
USER 65532:65532
EXPOSE 8787
# It writes no file: run it with a read-only root.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 CMD ["/app/node_modules/.bin/node", "src/node/probe.ts"]
ENTRYPOINT ["/app/node_modules/.bin/node", "--max-semi-space-size=16"]
CMD ["src/node.ts"]
