import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { patience } from './packages/ipe/src/testkit/patience.ts';

// Workspace packages are read from source in tests; tests that start the built program say so in their own folder (`test/`).
const conditions = ['ipe-source'];

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['packages/*/src/**/*.test.ts', 'packages/*/test/**/*.test.ts', 'test/**/*.test.ts'],
    pool: 'forks',
    // Tests wait for disks and programs more than they compute, so a small machine still runs two files at once.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    // Against what never ends, so far above what anything takes that a machine which stands still fails nothing.
    testTimeout: 900_000,
    hookTimeout: 900_000,
    expect: { poll: patience },
    globalSetup: ['scripts/test-folder.mjs'],
    server: { deps: { inline: [/^@ipe\//, /^ipe$/] } },
  },
});
