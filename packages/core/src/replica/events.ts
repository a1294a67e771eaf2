import type { KvOperation } from '../store/kv.ts';
import type { Ahead } from './ahead.ts';
import type { Cell } from './cell.ts';
import type { Source } from './dot.ts';
import type { DataFamily } from './layout.ts';
import type { Offered } from './offer.ts';
import type { HeldRun } from './quarantine.ts';
import type { LogRecord } from './record.ts';
import type { Recovered } from './recovery.ts';
import type { Head, KeyState } from './state.ts';
import type { SupersededWrite } from './superseded.ts';
import type { Failure, WriteOutcome, WriteRequest } from './write.ts';

/** What the outside tells the replica. Numbers that name requests, loads and batches are echoed in effects. */
export type ReplicaEvent =
  /** A client's writes. Answered by exactly one `reply`. */
  | { readonly type: 'submit'; readonly id: number; readonly request: WriteRequest }
  /** Keys that a reader needs and `peek` does not have. Answered by one `fetched`. */
  | { readonly type: 'fetch'; readonly id: number; readonly keys: readonly string[] }
  /** Rows asked for by `load`, in its order; a failure stands for one that is damaged. */
  | { readonly type: 'loaded'; readonly load: number; readonly rows: readonly LoadedRow[] }
  | { readonly type: 'load-failed'; readonly load: number; readonly failure: Failure }
  /** The batch is as durable as acknowledgements promise: synced, or written under `durability = "wal"`. */
  | { readonly type: 'committed'; readonly batch: number }
  /**
   * The batch was not applied, or (state `unknown`) may not have been. Without a batch: what was only written could not
   * be synced. Writes are refused from here on.
   */
  | { readonly type: 'failed'; readonly batch: number | undefined; readonly failure: Failure }
  /** Every commit up to this number is on disk. Under `fsync` it follows `committed` by itself. */
  | { readonly type: 'durable'; readonly commit: number }
  /** Records of other sources, each source's in order. Known ones are ignored, gaps are reported by `gap`. */
  | { readonly type: 'records'; readonly from: string; readonly records: readonly LogRecord[] }
  /**
   * States of keys as another member holds them, to be joined in: bootstrap and repair. They are not logged here, so the
   * vector does not move until `advance`. Answered by one `reply` once they are committed.
   */
  | (StatesJoin & {
      readonly type: 'states';
      readonly id: number;
      readonly namespace: string;
      readonly entries: readonly StateEntry[];
    })
  /**
   * Everything up to these heads has come in as states: the vector may say so. `floor` is the giver's purge floor, `ahead`
   * what its states showed beyond its vector before the first of them was read. Answered by one `reply` once it is committed.
   */
  | {
      readonly type: 'advance';
      readonly id: number;
      readonly namespace: string;
      readonly heads: readonly Head[];
      readonly floor: number;
      readonly ahead?: Ahead | undefined;
    }
  /**
   * Records that are held back, as another member gave them with its states: they stay held back here. Answered by one
   * `reply` once that is committed.
   */
  | {
      readonly type: 'hold';
      readonly id: number;
      readonly namespace: string;
      readonly records: readonly LogRecord[];
    }
  /**
   * Records that are held back here, read again. Those whose time has come, or that others already explain, are applied;
   * all of them if an operator said so. Answered by one `reply` once that is committed.
   */
  | {
      readonly type: 'release';
      readonly id: number;
      readonly records: readonly LogRecord[];
      readonly isForced: boolean;
    }
  /**
   * A record that is held back is to have no effect: it is applied, and overwritten by what its keys hold now. Answered
   * by one `reply` with the results of the overwriting.
   */
  | { readonly type: 'reject'; readonly id: number; readonly record: LogRecord }
  /**
   * Records of this instance's earlier sources, in order, that nobody else has: what still holds of them is written again,
   * under a new source, and what cannot be told is parked under `_sys.parked`, in one batch with how far the offering has
   * come. Known ones are passed over. Each is told by one `offered`, and all are answered by one `reply` once they are
   * committed, or with why one of them could not be offered; those before it are.
   */
  | {
      readonly type: 'offer';
      readonly id: number;
      readonly records: readonly LogRecord[];
      /** Records of the same sources that everyone has: of counters they tell what is counted already. */
      readonly counted: readonly LogRecord[];
      /** Latest time of what was purged from the namespaces, as far as other members have told. */
      readonly purgedMs: number;
    }
  /** Keys that housekeeping thinks dead: expired, or tombstones past their grace. Removed only if they are. */
  | { readonly type: 'purge'; readonly keys: readonly string[] }
  /** Commits up to this number leave the log; `bytes` is what their records took, `rows` removes them. */
  | {
      readonly type: 'trim';
      readonly commit: number;
      readonly bytes: number;
      readonly rows: readonly KvOperation<DataFamily>[];
    }
  /**
   * The store takes writes again. `recovered` is what it holds now, which settles what became of the batches that
   * failed; it must reach `Replica.appliedCommit`. Absent: nothing of them was applied.
   */
  | { readonly type: 'reopen'; readonly recovered?: Recovered }
  /** Time has passed: sent when an `alarm` is due, and about each second. */
  | { readonly type: 'tick' };

/** A key's state as another member holds it. Undefined: it has none, which takes the place of a damaged row. */
export interface StateEntry {
  readonly key: string;
  readonly state: KeyState | undefined;
}

/** How another member's states are joined in. */
export interface StatesJoin {
  /** The rows are written even where nothing is new: what is on disk is damaged. */
  readonly rewrite?: boolean;
  /**
   * What the giver had applied: writes here that these heads cover and its states do not show were overwritten there,
   * and go. Absent: nothing is known of what the giver forgot.
   */
  readonly covered?: readonly Head[] | undefined;
  /**
   * They are a page of a transfer, whose giver may lack what a damaged row here held. Such rows stay as they are: what
   * the page shows of their keys is joined in with what mends them.
   */
  readonly isPage?: boolean;
  /**
   * The giver's purge floor, where its states take the place of damaged rows: what it has forgotten of their keys is
   * forgotten here too, which writes have to tell those that have not.
   */
  readonly floor?: number;
  /**
   * What the giver had applied, where its states take the place of damaged rows. Refused as a whole where a row would lack
   * what was written to it here since it was found damaged.
   */
  readonly mending?: readonly Head[];
}

/** What the store has of a key. */
export type LoadedRow = Uint8Array | Failure | undefined;

/** What the replica asks of the outside. Effects of one step are carried out in order. */
export type ReplicaEffect =
  /** Read the `live` rows of these keys; answer with `loaded` or `load-failed`. */
  | { readonly type: 'load'; readonly load: number; readonly keys: readonly string[] }
  | {
      readonly type: 'fetched';
      readonly id: number;
      readonly cells: ReadonlyMap<string, Cell>;
      readonly failure?: Failure;
    }
  /** Write one atomic batch; answer with `committed` or `failed`. Batches take effect in the order of their numbers. */
  | {
      readonly type: 'commit';
      readonly batch: number;
      readonly operations: readonly KvOperation<DataFamily>[];
      /** Number of the last commit in the batch. */
      readonly lastCommit: number;
    }
  | { readonly type: 'reply'; readonly id: number; readonly outcome: WriteOutcome }
  /** Commits that readers see from now on, in order: for subscribers. `cells` has each changed key before and after; keys of `joined` namespaces changed without a commit too. */
  | {
      readonly type: 'applied';
      readonly commits: readonly Commit[];
      readonly cells: ReadonlyMap<string, { readonly before: Cell; readonly after: Cell }>;
      readonly joined: readonly string[];
    }
  /** Commits up to this number may be published and told to peers. */
  | { readonly type: 'durable'; readonly commit: number }
  /** Records of `source` between `after` and `before`, both excluded, are missing. */
  | {
      readonly type: 'gap';
      readonly namespace: string;
      readonly source: Source;
      readonly after: number;
      readonly before: number;
    }
  /** What became of a record that was offered again, durably; `verdicts` one an operation, none where it was known. */
  | { readonly type: 'offered'; readonly record: LogRecord; readonly verdicts: readonly Offered[] }
  /** A record's time lies too far ahead: it counts as held, and is applied later. */
  | { readonly type: 'held'; readonly record: LogRecord; readonly aheadMs: number }
  /** The clock has reached records that are held back: read them and hand them in as `release`. Told at every tick. */
  | { readonly type: 'due'; readonly runs: readonly HeldRun[] }
  /** A record that cannot be applied here as things are; it was not, and its source stays at the record before. */
  | { readonly type: 'refused'; readonly record: LogRecord; readonly failure: Failure }
  /** The row of a key does not tell what the key holds. It is refused to everybody until a sound one takes its place. */
  | { readonly type: 'damaged'; readonly key: string; readonly failure: Failure }
  /** Send `tick` in so many milliseconds. */
  | { readonly type: 'alarm'; readonly inMs: number };

/** One record as this instance applied it, under a number of its own: contiguous, in apply order. */
export interface Commit {
  readonly number: number;
  readonly record: LogRecord;
  /** One a operation of the record, in order. */
  readonly changes: readonly Change[];
}

/** What an operation did to its key here. */
export interface Change {
  readonly key: string;
  /** `none`: everything in it was overwritten already. `whole`: the operation alone tells the result. `merged`: the result is in the key's state. */
  readonly effect: 'none' | 'whole' | 'merged';
  readonly cell: Cell;
  /** A conditional write of this instance that lost against the operation, neither having seen the other. */
  readonly superseded: SupersededWrite | undefined;
}

/** Random numbers in [0, 1): handed in, so that a seed decides everything. */
export type Rng = () => number;
