import { defineConfig } from 'vitest/config'

/** What reads the sources and starts nothing: `npm run check` runs it alone. */
const HOUSE = 'test/architecture/**/*.test.ts'

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
    // A release must not fail because a machine stood still for a moment. What was tried twice is printed.
    retry: process.env.CI === 'true' ? 1 : 0,
    projects: [
      { extends: true, test: { name: 'house', include: [HOUSE] } },
      {
        extends: true,
        test: {
          name: 'service',
          include: ['test/**/*.test.ts'],
          exclude: [HOUSE],
          globalSetup: ['test/support/setup.ts'],
        },
      },
    ],
  },
})
