import { Cell } from '../cell.ts';
import type { CommitEntry } from '../commit-row.ts';
import type { Change, Commit } from '../events.ts';
import { isCausal, stateOf } from '../join.ts';
import type { LogRecord } from '../record.ts';
import type { Replica } from '../replica.ts';
import type { Strategy } from '../state.ts';
import { noTag } from '../token.ts';
import { purgedBy } from './purged.ts';

export interface RecentCommitsBounds {
  /** Rough memory that commits may take. */
  readonly bytesMax: number;
  readonly commitsMax: number;
}

/** The newest commits in the order in which they were applied, in memory, for followers that keep up. */
export class RecentCommits {
  readonly #replica: Pick<Replica, 'commitTag'>;
  readonly #bounds: RecentCommitsBounds;
  /** Commits `#first` to `#first + length - 1`. */
  #commits: Commit[] = [];
  #first: number;
  #bytes = 0;

  /** Begins behind what the replica has applied so far. */
  constructor(replica: Pick<Replica, 'appliedCommit' | 'commitTag'>, bounds: RecentCommitsBounds) {
    this.#replica = replica;
    this.#first = replica.appliedCommit + 1;
    this.#bounds = bounds;
  }

  /** Number of the newest commit. */
  get head(): number {
    return this.#first + this.#commits.length - 1;
  }

  /** @param isFollowed whether anybody follows; else they are left to the log on disk, and their cells to the collector */
  append(commits: readonly Commit[], isFollowed: boolean): void {
    if (!isFollowed) {
      this.#first = this.head + commits.length + 1;
      this.#commits = [];
      this.#bytes = 0;
      return;
    }
    for (const commit of commits) {
      this.#commits.push(commit);
      this.#bytes += weight(commit);
    }
    const { bytesMax, commitsMax } = this.#bounds;
    if (this.#bytes <= bytesMax && this.#commits.length <= commitsMax) return;
    // Down to half at once, so that the array is not shifted for every commit.
    let dropped = 0;
    while (this.#bytes > bytesMax / 2 || this.#commits.length - dropped > commitsMax / 2) {
      const oldest = this.#commits[dropped];
      if (oldest === undefined) break;
      this.#bytes -= weight(oldest);
      dropped++;
    }
    this.#commits = this.#commits.slice(dropped);
    this.#first += dropped;
  }

  /** Commits after `commit`; undefined when it is further back than memory goes. */
  after(commit: number): readonly Commit[] | undefined {
    if (commit + 1 < this.#first) return undefined;
    return commit >= this.head ? [] : this.#commits.slice(commit + 1 - this.#first);
  }

  /** What tells this commit from another of the same number; undefined when it is not in memory. */
  tagOf(commit: number): string | undefined {
    if (commit === 0) return noTag;
    const recent = this.#commits[commit - this.#first];
    return recent && this.#replica.commitTag(recent.record);
  }
}

/**
 * A commit as it was delivered when it was applied, from what the log keeps of it. What a merge gave at the time is not
 * kept: it is followed, in order, by whatever the key holds now, which is a deletion where it was purged.
 * @param now what keys hold that a merge gave; of `mergedKeys`
 */
export function reviveCommit(
  number: number,
  record: LogRecord,
  { effects, superseded }: CommitEntry,
  strategy: Strategy,
  now: ReadonlyMap<string, Cell>,
): Commit {
  const changes = record.operations.map((operation, i): Change => {
    const { key } = operation;
    const effect = effects?.[i] ?? 'whole';
    const merged = effect === 'merged' ? now.get(key) : undefined;
    const isPurged = merged !== undefined && merged.view === undefined;
    const state = isPurged ? purgedBy(record, i) : stateOf(record, i, isCausal(operation));
    const cell = merged === undefined || isPurged ? new Cell(state, 0, strategy) : merged;
    return { key, effect, cell, superseded: superseded.get(i) };
  });
  return { number, record, changes };
}

/** Keys of a record whose content after it the log does not keep. */
export function mergedKeys({ operations }: LogRecord, { effects }: CommitEntry): string[] {
  return operations.flatMap(({ key }, i) => (effects?.[i] === 'merged' ? [key] : []));
}

function weight({ changes }: Commit): number {
  let bytes = 128;
  for (const { key, cell } of changes) bytes += key.length + cell.sizeBytes / 2;
  return bytes;
}
