import { Cell } from '../cell.ts';
import type { LogRange } from '../delivery/slice.ts';
import type { Heads } from '../exchange/vectors.ts';
import { isCausal, stateOf } from '../join.ts';
import type { LogRecord } from '../record.ts';
import type { Replica } from '../replica.ts';
import type { Token } from '../token.ts';

/**
 * Where a follower goes on from a token of this instance; undefined when it cannot, and needs a vector or a resync.
 * @param head number of the newest commit @param tag of the token's commit, as it is known here
 */
export function placeOf(
  { commit, instance, tag: itsTag, isPartial, seq }: Token,
  namespace: string,
  replica: Pick<Replica, 'origin' | 'trimmedCommit' | 'joinedCommit'>,
  head: number,
  tag: string | undefined,
): number | undefined {
  if (instance !== replica.origin || commit === 0 || commit > head || commit < replica.trimmedCommit) return undefined;
  // A bookmark (seq 0) of that very commit was given after the states that came in with it were told.
  const joined = replica.joinedCommit(namespace);
  if (commit < joined || (commit === joined && joined > 0 && seq > 0)) return undefined;
  // The number may have been given to another commit since, if a crash took the end of the log.
  if (tag !== itsTag) return undefined;
  return isPartial ? commit - 1 : commit;
}

/** Records that are gone through for a follower from another instance; with more, it is given everything instead. */
const recordsMax = 20_000;

/** Records of a namespace outside of a vector; undefined where they are too many. */
export function rangesBeyond(vector: Heads, namespace: string, heads: Heads): LogRange[] | undefined {
  const ranges: LogRange[] = [];
  let records = 0;
  for (const [source, upTo] of heads) {
    const after = vector.get(source) ?? 0;
    if (upTo <= after) continue;
    if ((records += upTo - after) > recordsMax) return undefined;
    ranges.push({ namespace, source, after, upTo });
  }
  return ranges;
}

/** Gathers which keys records wrote, for a follower that has not seen them. */
export class WrittenKeys {
  readonly #matches: (key: string) => boolean;
  readonly #replica: Pick<Replica, 'strategyOf'>;
  /** The last write of each key, for those of which nothing else is left. */
  readonly #written = new Map<string, Cell>();

  constructor(matches: (key: string) => boolean, replica: Pick<Replica, 'strategyOf'>) {
    this.#matches = matches;
    this.#replica = replica;
  }

  take(record: LogRecord): void {
    const strategy = this.#replica.strategyOf(record.namespace);
    record.operations.forEach((operation, i) => {
      if (this.#matches(operation.key))
        this.#written.set(operation.key, new Cell(stateOf(record, i, isCausal(operation)), 0, strategy));
    });
  }

  keys(): Iterable<string> {
    return this.#written.keys();
  }

  /** What is told of a key. One that was purged since has the deletion that was. @param now what it holds now */
  told(key: string, now: Cell): Cell {
    return now.view === undefined ? (this.#written.get(key) ?? now) : now;
  }
}
