import type { KeyLayout } from './layout.ts';

const never = () => false;
const always = () => true;

/**
 * Keys of the fact store (`core/replica/layout.ts`): what is a number stays clear, what is a name is hidden. A request
 * id (`q`) is hidden whole, whatever is in it.
 */
export const dataLayouts = {
  live: { clearBytes: 0, hasSuffix: never },
  versions: { clearBytes: 0, hasSuffix: always },
  log: { clearBytes: 0, hasSuffix: always },
  commits: { clearBytes: Number.POSITIVE_INFINITY, hasSuffix: never },
  expiry: { clearBytes: 6, hasSuffix: never },
  metadata: { clearBytes: 1, hasSuffix: (key: Uint8Array) => key[0] === 'v'.charCodeAt(0) },
} as const satisfies Record<string, KeyLayout>;
