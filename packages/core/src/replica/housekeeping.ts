import { absentCell, Cell } from './cell.ts';
import type { Dot } from './dot.ts';
import { everyDot, isTombstone, latestOf } from './resolve.ts';
import type { Members, Strategy } from './state.ts';

/** What purging depends on. */
export interface PurgeRules {
  readonly nowMs: number;
  /** Least time a deletion is remembered. */
  readonly graceMs: number;
  /** Whether every member of the cluster is known to have a write. */
  readonly isStable: (dot: Dot) => boolean;
}

/**
 * When housekeeping should look at a key: its expiry, or the end of a deletion's grace. 0: there is nothing to purge.
 * What is due here is found through the `expiry` family.
 */
export function dueMs(cell: Cell, graceMs: number): number {
  const { state } = cell;
  if (state?.kind === 'version') return isTombstone(state) ? state.ms + graceMs : state.expiresMs;
  const { view } = cell;
  if (state === undefined || view === undefined) return 0;
  if (view.kind === 'absent') return latestOf(state).ms + graceMs;
  if (state.kind === 'members') {
    const removed = oldestRemovalMs(state);
    return removed === undefined ? 0 : removed + graceMs;
  }
  return view.expiresMs;
}

/**
 * What is left of a key once what is dead, past its grace and known everywhere is gone: nothing, a set without the
 * members long removed, or the state itself.
 */
export function purged(cell: Cell, strategy: Strategy, { nowMs, graceMs, isStable }: PurgeRules): Cell {
  const { state, view } = cell;
  if (state === undefined || view === undefined) return cell;
  // A reset that is forgotten here and remembered elsewhere would hide there what is added here afterwards.
  if (state.kind === 'counter' && state.reset !== undefined) return cell;
  const isDead = view.kind === 'absent' ? latestOf(state).ms + graceMs <= nowMs : cell.seenAt(nowMs) === undefined;
  if (isDead && everyDot(state).every(isStable)) return absentCell(strategy);
  if (state.kind !== 'members') return cell;
  const members = state.members.filter(
    ({ live }) =>
      live.some((mark) => mark.present) || live.some((mark) => mark.ms + graceMs > nowMs || !isStable(mark)),
  );
  if (members.length === state.members.length || members.length === 0) return cell;
  return new Cell({ ...state, members }, cell.revision, strategy);
}

function oldestRemovalMs(state: Members): number | undefined {
  let oldest: number | undefined;
  for (const { live } of state.members) {
    if (live.some((mark) => mark.present)) continue;
    for (const mark of live) oldest = Math.min(oldest ?? mark.ms, mark.ms);
  }
  return oldest;
}
