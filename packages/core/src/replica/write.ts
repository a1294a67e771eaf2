import type { Reason } from '../errors.ts';
import type { Cell } from './cell.ts';

/** One write as it is asked for. `key` is whole, checked by `checkKey`; `namespace` is its first segment. */
export type Write = PutWrite | DeleteWrite | AddWrite | MembersWrite;

interface WriteTarget {
  readonly namespace: string;
  readonly key: string;
  /**
   * Makes a retry safe for ten minutes: a second write with the same name answers as the first did. Unique to the
   * caller; `fingerprint` tells a retry from another write under the same name.
   */
  readonly requestKey?: string;
  readonly fingerprint?: string;
}

interface Conditions {
  /** The version that readers must see now; 0: none. */
  readonly ifVersion?: number | undefined;
  readonly ifMatch?: string | undefined;
}

export interface PutWrite extends WriteTarget, Conditions {
  readonly op: 'put';
  /** JSON text of the value; or else `bytes`. */
  readonly json?: string | undefined;
  readonly bytes?: Uint8Array | undefined;
  readonly ttlMs?: number | undefined;
}

export interface DeleteWrite extends WriteTarget, Conditions {
  readonly op: 'delete';
}

export interface AddWrite extends WriteTarget {
  readonly op: 'add';
  /** A safe integer. */
  readonly amount: number;
  readonly windowMs?: number | undefined;
}

export interface MembersWrite extends WriteTarget {
  readonly op: 'set-add' | 'set-remove';
  /** Canonical JSON texts. */
  readonly members: readonly string[];
}

/** Writes submitted together. */
export interface WriteRequest {
  readonly writes: readonly Write[];
  /** All or none, in one record; all keys of one namespace. Otherwise each write stands alone. */
  readonly atomic: boolean;
  /** Makes an atomic request as a whole safe to retry, as `Write.requestKey` does for a single write. */
  readonly requestKey?: string;
  readonly fingerprint?: string;
  /** Rough size, for the bound on what may wait. */
  readonly sizeBytes: number;
}

/** What became of one write. */
export type WriteResult = WriteDone | WriteRefused;

export interface WriteDone {
  readonly ok: true;
  readonly key: string;
  readonly version: number;
  readonly etag: string;
  /** Hybrid milliseconds. */
  readonly updatedMs: number;
  /** Names the record it is in; see `token.ts`. */
  readonly token: string;
  /** The key right after the write. Absent in an answer repeated after a restart. */
  readonly cell?: Cell;
  /** A put where readers saw nothing before. */
  readonly isCreated?: boolean | undefined;
  /** Answer of a counter or a set: its value after the write, JSON text. */
  readonly valueJson?: string | undefined;
  /** The answer is that of an earlier request with the same `request_id`. */
  readonly repeated?: true;
}

export interface WriteRefused {
  readonly ok: false;
  readonly key: string;
  readonly reason: Reason;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
  /** On a failed condition: what the key holds, as of the refusal. */
  readonly current?: Cell;
}

/** Answer to a request. `failure` fails it whole: nothing in it was applied. */
export type WriteOutcome =
  | { readonly ok: true; readonly results: readonly WriteResult[] }
  | { readonly ok: false; readonly failure: Failure };

export interface Failure {
  readonly reason: Reason;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
  /** `unknown` when the store cannot say whether the batch took effect. */
  readonly state?: 'unchanged' | 'unknown';
  /** On a failed condition inside a transaction: the write that failed. */
  readonly refused?: WriteRefused;
}
