import {
  type Commit,
  commitKey,
  type DataFamily,
  decodeCommit,
  expiryKey,
  logKey,
  namespaceOf,
  type Replica,
  type ReplicaEvent,
} from '@ipe/core/replica';
import type { Kv, KvOperation } from '@ipe/core/store';

export interface HousekeeperOptions {
  readonly kv: Kv<DataFamily>;
  readonly replica: Replica;
  readonly step: (event: ReplicaEvent) => void;
  readonly historyAgeOf: (namespace: string) => number;
  readonly logBytesMax: number;
  readonly now: () => number;
}

/** Rows that one round looks at, of each kind: a round stays within a few milliseconds of the store's time. */
const sliceRows = 500;
/** Longest rest between two passes over old versions: a namespace may be new, with a shorter age than all others. */
const restMsMax = 3_600_000;

/**
 * Removes what has had its time, a slice at a time: expired values and old tombstones (through the replica, which checks
 * that nothing is being written to them), versions past their age, and the log beyond its bound.
 */
export class Housekeeper {
  readonly #options: HousekeeperOptions;
  #expiryFrom: Uint8Array | undefined;
  /** How far the pass over versions has come; and when one may find something to drop. */
  #versionsFrom: Uint8Array | undefined;
  #versionsDueMs = Number.NEGATIVE_INFINITY;
  /** Keys written since the slice of versions under way was read. */
  #written: Set<string> | undefined;
  #round: Promise<void> | undefined;

  constructor(options: HousekeeperOptions) {
    this.#options = options;
  }

  /** One slice of each kind; joins a round that is under way. */
  round(): Promise<void> {
    this.#round ??= this.#slices().finally(() => {
      this.#round = undefined;
    });
    return this.#round;
  }

  /** Runs something while no round does. */
  async between<Result>(run: () => Promise<Result>): Promise<Result> {
    while (this.#round !== undefined) await this.idle();
    const turn = run();
    this.#round = turn
      .then(
        () => {},
        () => {},
      )
      .finally(() => {
        this.#round = undefined;
      });
    return await turn;
  }

  async idle(): Promise<void> {
    await this.#round?.catch(() => {});
  }

  /** Told of every commit, before others are. */
  saw(commits: readonly Commit[]): void {
    if (this.#written === undefined) return;
    for (const { record } of commits) for (const { key } of record.operations) this.#written.add(key);
  }

  async #slices(): Promise<void> {
    await this.#purgeDue();
    await this.#dropOldVersions();
    await this.#trimLog();
  }

  async #purgeDue(): Promise<void> {
    const { kv, replica, step, now } = this.#options;
    const keys: string[] = [];
    let last: Uint8Array | undefined;
    const due = expiryKey(replica.readMs(now()) + 1, '');
    const range = { ...(this.#expiryFrom && { gt: this.#expiryFrom }), lt: due, limit: sliceRows };
    for await (const [row] of kv.entries('expiry', range)) {
      keys.push(text(row.subarray(6)));
      last = row;
    }
    // What may not go yet stays in front: the next round begins behind it, and at the front again after the last.
    this.#expiryFrom = keys.length < sliceRows ? undefined : last;
    if (keys.length > 0) step({ type: 'purge', keys });
  }

  /**
   * Walks over all versions, a slice a round. Then it rests until the first of those that it saw is old enough, or one
   * that was written since it began could be: reading rows costs some 30 µs each, which an instance that has nothing else
   * to do would spend for ever.
   */
  async #dropOldVersions(): Promise<void> {
    const { kv, replica, historyAgeOf, now } = this.#options;
    const nowMs = replica.readMs(now());
    let nextMs = this.#versionsDueMs;
    if (this.#versionsFrom === undefined) {
      if (nowMs < nextMs) return;
      nextMs = nowMs + Math.min(restMsMax, ...replica.report().map(({ name }) => historyAgeOf(name)));
    }
    this.#written = new Set();
    try {
      const old: { readonly row: Uint8Array; readonly key: string }[] = [];
      let rows = 0;
      let last: Uint8Array | undefined;
      const from = this.#versionsFrom && { gt: this.#versionsFrom };
      const range = { ...from, limit: sliceRows, order: 'store' as const };
      for await (const [row, value] of kv.entries('versions', range)) {
        rows++;
        last = row;
        const key = text(row.subarray(0, -3));
        const replacedMs = Buffer.from(value.buffer, value.byteOffset, value.byteLength).readUIntBE(0, 6);
        const dueMs = replacedMs + historyAgeOf(namespaceOf(key));
        if (dueMs <= nowMs) old.push({ row, key });
        else nextMs = Math.min(nextMs, dueMs);
      }
      this.#versionsDueMs = nextMs;
      this.#versionsFrom = rows < sliceRows ? undefined : last;
      // A key written meanwhile may have put a new version in the old one's place.
      const pending = replica.uncommitted();
      const operations = old
        .filter(({ key }) => !this.#written!.has(key) && !pending.has(key))
        .map(({ row }): KvOperation<DataFamily> => ({ type: 'delete', family: 'versions', key: row }));
      if (operations.length > 0) await kv.write(operations);
    } finally {
      this.#written = undefined;
    }
  }

  async #trimLog(): Promise<void> {
    const { kv, replica, step, logBytesMax } = this.#options;
    let excess = replica.logBytes - logBytesMax;
    if (excess <= 0) return;
    const rows: KvOperation<DataFamily>[] = [];
    let bytes = 0;
    let commit = replica.trimmedCommit;
    const range = { gt: commitKey(commit), lte: commitKey(replica.durableCommit), limit: sliceRows };
    for await (const [key, value] of kv.entries('commits', range)) {
      const { namespace, source, seq } = decodeCommit(value, replica.sources);
      const row = logKey(namespace, source, seq);
      const size = (await kv.get('log', row))?.length ?? 0;
      rows.push({ type: 'delete', family: 'commits', key }, { type: 'delete', family: 'log', key: row });
      bytes += size;
      excess -= size;
      commit++;
      if (excess <= 0) break;
    }
    if (rows.length > 0) step({ type: 'trim', commit, bytes, rows });
  }
}

const text = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
