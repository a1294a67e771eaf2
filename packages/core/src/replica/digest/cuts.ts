/** Milliseconds that one hourly tree covers. */
export const hourMs = 3_600_000;

/**
 * From which hours on nothing can have been purged: what expires, and what was deleted, in earlier ones is housekeeping's
 * to remove at any time, at each instance at another, and so is not compared.
 */
export interface Cuts {
  readonly expiringHour: number;
  readonly deletedHour: number;
}

/** @param readMs the readers' clock, which purging goes by @param graceMs least time that deletions are remembered */
export function cutsAt(readMs: number, graceMs: number): Cuts {
  return { expiringHour: hourOf(readMs) + 1, deletedHour: hourOf(readMs - graceMs) + 1 };
}

/** What two instances can both compare. */
export function laterCuts(a: Cuts, b: Cuts): Cuts {
  return {
    expiringHour: Math.max(a.expiringHour, b.expiringHour),
    deletedHour: Math.max(a.deletedHour, b.deletedHour),
  };
}

export const noCuts: Cuts = { expiringHour: 0, deletedHour: 0 };

/** Number of a tree: that of what lasts, or an hour's of what expires or was deleted in it. */
export type TreeId = number;

export const lastingTree: TreeId = 0;

export const expiringTree = (ms: number): TreeId => hourOf(ms) * 2 + 2;

export const deletedTree = (ms: number): TreeId => hourOf(ms) * 2 + 3;

/** Whether a tree lies above the cuts. */
export function isAbove(tree: TreeId, cuts: Cuts): boolean {
  if (tree === lastingTree) return true;
  const hour = (tree >>> 1) - 1;
  return hour >= ((tree & 1) === 0 ? cuts.expiringHour : cuts.deletedHour);
}

const hourOf = (ms: number) => Math.max(0, Math.floor(ms / hourMs));
