/**
 * How tests wait for what comes about by itself, in milliseconds, as `vi.waitFor` and `expect.poll` take it. The limit
 * is there for what never comes: a machine that stands still for a minute must not fail a test.
 */
export const patience = { timeout: 300_000, interval: 50 } as const;
