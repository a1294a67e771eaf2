import { compareDots, dotWord, type Stamp } from './dot.ts';
import type { Operation } from './record.ts';
import { isTombstone, standing } from './resolve.ts';
import type { KeyState, Strategy, Version } from './state.ts';

/** A write that was accepted under a condition and then lost a merge. */
export interface SupersededWrite extends Stamp {
  readonly version: number;
}

/**
 * The conditional write of `origin` that readers saw before an operation of another instance was joined in, see no more
 * after it, and which the operation did not know of: its condition held where it was judged, and still it lost. A write
 * that was overwritten by one that had seen it is not superseded, nor is one that still stands beside others.
 *
 * Under `version-vector` contexts tell who had seen what. Under `lww` an operation names the write it was put over. If
 * that is one which in turn had seen the conditional write but has not arrived here yet (the records of two other
 * instances arrived against their causal order), the write counts as superseded although it was not: told too often
 * rather than never.
 */
export function supersededBy(
  before: KeyState | undefined,
  after: KeyState | undefined,
  operation: Operation,
  strategy: Strategy,
  origin: string,
): SupersededWrite | undefined {
  if (before === undefined || after === undefined || before === after) return undefined;
  const loser = standing(before, strategy);
  if (loser === undefined || !loser.isConditional || loser.source.origin !== origin) return undefined;
  const winner = standing(after, strategy);
  if (winner === undefined || compareDots(winner, loser) === 0) return undefined;
  const isSeen =
    after.kind === 'siblings'
      ? !after.live.some((version) => compareDots(version, loser) === 0)
      : (operation.op === 'put' || operation.op === 'delete') && hasSeen(operation, loser, winner.ms);
  if (isSeen) return undefined;
  const { source, seq, idx, ms, count, version } = loser;
  return { source, seq, idx, ms, count, version };
}

function hasSeen(operation: Operation & { op: 'put' | 'delete' }, loser: Version, atMs: number): boolean {
  if (operation.over !== undefined) return operation.over === dotWord(loser);
  // Put over nothing: the loser was unknown there, or dead and purged, which raised the floor of versions above its own.
  const isDead = isTombstone(loser) || (loser.expiresMs !== 0 && loser.expiresMs <= atMs);
  return isDead && operation.version > loser.version;
}
