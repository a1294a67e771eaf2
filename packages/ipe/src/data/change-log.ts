import {
  Cell,
  type Change,
  type Commit,
  type CommitEntry,
  commitKey,
  commitTag,
  decodeCommit,
  decodeRecord,
  isCausal,
  logKey,
  noTag,
  stateOf,
} from '@ipe/core/replica';
import type { Engine } from './engine.ts';

/** A commit as it is delivered: the same whether it just happened or is read again. */
export type LoggedCommit = Commit;

/** Bytes of recent commits kept in memory: followers that keep up never read the disk. */
const recentBytesMax = 8 * 1024 * 1024;
const recentMax = 16_384;
/** Commits that one read of the log brings. */
const readMax = 256;

/**
 * Commits in the order in which this instance applied them: the newest from memory, older ones from the log on disk, as
 * far back as that goes.
 */
export class ChangeLog {
  readonly #engine: Engine;
  /** Commits `#first` to `#first + length - 1`. */
  #recent: LoggedCommit[] = [];
  #first: number;
  #bytes = 0;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#first = engine.replica.appliedCommit + 1;
  }

  /** Number of the newest commit. */
  get head(): number {
    return this.#first + this.#recent.length - 1;
  }

  /** @param isFollowed whether anybody follows; else they are left to the log on disk, and their cells to the collector */
  append(commits: readonly Commit[], isFollowed: boolean): void {
    if (!isFollowed) {
      this.#first = this.head + commits.length + 1;
      this.#recent = [];
      this.#bytes = 0;
      return;
    }
    for (const commit of commits) {
      this.#recent.push(commit);
      this.#bytes += weight(commit);
    }
    if (this.#bytes <= recentBytesMax && this.#recent.length <= recentMax) return;
    // Down to half at once, so that the array is not shifted for every commit.
    let dropped = 0;
    while (this.#bytes > recentBytesMax / 2 || this.#recent.length - dropped > recentMax / 2) {
      const oldest = this.#recent[dropped];
      if (oldest === undefined) break;
      this.#bytes -= weight(oldest);
      dropped++;
    }
    this.#recent = this.#recent.slice(dropped);
    this.#first += dropped;
  }

  /** Commits after `commit` that are in memory; undefined when it is further back than that. */
  recent(commit: number): readonly LoggedCommit[] | undefined {
    if (commit + 1 < this.#first) return undefined;
    return commit >= this.head ? [] : this.#recent.slice(commit + 1 - this.#first);
  }

  /**
   * Some commits after `commit` from the log, of one namespace; others are passed over. Undefined when the log does not
   * go back that far.
   * @returns how far it read, which may be beyond the last commit returned
   */
  async read(
    commit: number,
    namespace: string,
  ): Promise<{ readonly commits: readonly LoggedCommit[]; readonly upTo: number } | undefined> {
    const { kv, replica } = this.#engine;
    if (commit < replica.trimmedCommit) return undefined;
    const upTo = Math.min(commit + readMax, replica.appliedCommit);
    const wanted: {
      readonly number: number;
      readonly key: Uint8Array;
      readonly entry: CommitEntry;
    }[] = [];
    let expected = commit + 1;
    for await (const [, value] of kv.entries('commits', { gt: commitKey(commit), lte: commitKey(upTo) })) {
      const entry = decodeCommit(value, replica.sources);
      if (entry.namespace === namespace)
        wanted.push({ number: expected, key: logKey(namespace, entry.source, entry.seq), entry });
      expected++;
    }
    const rows = await kv.getMany(
      'log',
      wanted.map(({ key }) => key),
    );
    // Trimmed while it was read: what was found has holes.
    if (commit < replica.trimmedCommit || expected !== upTo + 1) return undefined;
    const commits: LoggedCommit[] = [];
    for (const [i, { number, entry }] of wanted.entries()) {
      const row = rows[i];
      if (row === undefined) return undefined;
      commits.push(await this.#revive(number, row, entry));
    }
    return { commits, upTo };
  }

  /** What tells this commit from another of the same number; undefined when it is not known any more. */
  async tagOf(commit: number): Promise<string | undefined> {
    if (commit === 0) return noTag;
    const recent = this.#recent[commit - this.#first];
    if (recent !== undefined) return commitTag(recent.record);
    const row = await this.#engine.kv.get('commits', commitKey(commit));
    return row === undefined ? undefined : commitTag(decodeCommit(row, this.#engine.replica.sources));
  }

  async #revive(number: number, row: Uint8Array, { effects, superseded }: CommitEntry): Promise<LoggedCommit> {
    const { replica } = this.#engine;
    const record = decodeRecord(row, replica.sources);
    const strategy = replica.strategyOf(record.namespace);
    const changes: Change[] = [];
    for (const [i, operation] of record.operations.entries()) {
      const { key } = operation;
      const effect = effects?.[i] ?? 'whole';
      // What a merge gave at the time is not kept: it is followed, in order, by whatever the key holds now.
      const cell =
        effect === 'merged'
          ? await this.#engine.get(key)
          : new Cell(stateOf(record, i, isCausal(operation)), 0, strategy);
      changes.push({ key, effect, cell, superseded: superseded.get(i) });
    }
    return { number, record, changes };
  }
}

function weight({ changes }: LoggedCommit): number {
  let bytes = 128;
  for (const { key, cell } of changes) bytes += key.length + cell.sizeBytes / 2;
  return bytes;
}
