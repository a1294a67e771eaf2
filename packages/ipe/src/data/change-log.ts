import {
  type Commit,
  type CommitEntry,
  commitKey,
  decodeCommit,
  decodeRecord,
  type LogPart,
  logKey,
  mergedKeys,
  RecentCommits,
  reviveCommit,
} from '@ipe/core/replica';
import type { Engine } from './engine.ts';

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
  readonly recent: RecentCommits;
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.recent = new RecentCommits(engine.replica, {
      bytesMax: recentBytesMax,
      commitsMax: recentMax,
    });
  }

  /** Number of the newest commit. */
  get head(): number {
    return this.recent.head;
  }

  /**
   * Some commits after `commit` from the log, of one namespace; others are passed over. Undefined when the log does not
   * go back that far.
   * @returns how far it read, which may be beyond the last commit returned
   */
  async read(commit: number, namespace: string): Promise<LogPart | undefined> {
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
    const commits: Commit[] = [];
    for (const [i, { number, entry }] of wanted.entries()) {
      const row = rows[i];
      if (row === undefined) return undefined;
      commits.push(await this.#revive(number, row, entry));
    }
    return { commits, upTo };
  }

  /** What tells this commit from another of the same number; undefined when it is not known any more. */
  async tagOf(commit: number): Promise<string | undefined> {
    const recent = this.recent.tagOf(commit);
    if (recent !== undefined) return recent;
    const row = await this.#engine.kv.get('commits', commitKey(commit));
    const { replica } = this.#engine;
    return row === undefined ? undefined : replica.commitTag(decodeCommit(row, replica.sources));
  }

  async #revive(number: number, row: Uint8Array, entry: CommitEntry): Promise<Commit> {
    const { replica } = this.#engine;
    const record = decodeRecord(row, replica.sources);
    const now = await this.#engine.getMany(mergedKeys(record, entry));
    return reviveCommit(number, record, entry, replica.strategyOf(record.namespace), now);
  }
}
