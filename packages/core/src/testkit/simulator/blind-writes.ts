import { isTombstone, type KeyState, type LogRecord, namespaceOf } from '../../replica/index.ts';
import type { Oracle, Reach, Share } from './oracle.ts';

/**
 * What instances write that run on an old copy of their disk and do not know it yet. Such a write has not seen deletions
 * that its instance had said to hold, and that others have forgotten since, as they may: it stands beside the deletion
 * where that is known, and alone where it is not, until digests have brought the deletion back (docs/replication.md).
 * Only of those deletions, at those keys, may a reader be shown nothing meanwhile.
 */
export class BlindWrites {
  readonly #oracle: Oracle;
  /** By member: how far the disks reached that old copies took the place of. */
  readonly #before = new Map<number, Reach>();
  /** By key: what was written to it that such a write had not seen. */
  readonly #unseen = new Map<string, Set<Share>>();

  constructor(oracle: Oracle) {
    this.#oracle = oracle;
  }

  /** An old copy takes the place of a member's disk. @param reach of the disk that goes */
  wentBack(member: number, reach: Reach): void {
    const known = this.#before.get(member);
    this.#before.set(member, known === undefined ? reach : (...place) => Math.max(known(...place), reach(...place)));
  }

  /** A member wrote. @param reach how far it has applied by now */
  wrote(member: number, { operations }: LogRecord, reach: Reach): void {
    const before = this.#before.get(member);
    if (before === undefined) return;
    for (const { key } of operations) {
      const namespace = namespaceOf(key);
      for (const share of this.#oracle.writesTo(key)) {
        const { sourceId, seq } = share;
        const within = (each: Reach) => this.#oracle.isWithin(each, namespace, sourceId, seq);
        if (!within(before) || within(reach)) continue;
        const unseen = this.#unseen.get(key);
        if (unseen === undefined) this.#unseen.set(key, new Set([share]));
        else unseen.add(share);
      }
    }
  }

  /** What a key may hold besides what it must: undefined where nothing was written to it in that way. */
  alternative(key: string, reach: Reach, known: (share: Share) => KeyState | undefined): KeyState | undefined {
    const unseen = this.#unseen.get(key);
    if (unseen === undefined) return undefined;
    return this.#oracle.expected(key, reach, (share) => {
      const state = known(share);
      return state !== undefined && unseen.has(share) ? withoutDeletions(state) : state;
    });
  }

  /** Digests have brought back what was forgotten: from now on all must show the same. */
  settled(): void {
    this.#unseen.clear();
  }
}

/** A write as one knows it who has forgotten what it deleted: what it overwrote does not come back by that. */
function withoutDeletions(state: KeyState): KeyState {
  if (state.kind === 'siblings') return { ...state, live: state.live.filter((version) => !isTombstone(version)) };
  if (state.kind !== 'members') return state;
  const members = state.members.map((each) => ({ ...each, live: each.live.filter(({ present }) => present) }));
  return { ...state, members };
}
