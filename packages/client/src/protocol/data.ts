/** Wire types of the data plane (API.md, "Data plane methods"): what goes into `params` and comes back as `result`. */

/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A fact as it is read back. Bytes come as `value_base64` in place of `value`. Times are Unix seconds. */
export interface Entry {
  readonly key: string;
  readonly value?: Json;
  readonly value_base64?: string;
  /** Small and readable, monotone along causality; two concurrent writers may mint the same one. */
  readonly version: number;
  /** Exact: the hash of the writes that make up this entry. */
  readonly etag: string;
  readonly created_at: number;
  readonly updated_at: number;
  readonly expires_at?: number;
  /** Concurrent values that no strategy resolved; a `put` with `if_match` resolves them. */
  readonly siblings?: readonly Json[];
}

/** A fact may be written only if this still holds; else `conflict` with the current entry in the details. */
interface Precondition {
  /** Version the caller last saw; 0: the key must not exist. */
  readonly if_version?: number;
  /** Etag the caller last saw. */
  readonly if_match?: string;
}

export interface PutParams extends Precondition {
  readonly key: string;
  readonly value?: Json;
  readonly value_base64?: string;
  /** Seconds until the entry expires; absent: it does not, even if it did before. */
  readonly ttl?: number;
  /** Which instances must hold the write before it is acknowledged: this one (default), or this one and `k` peers. */
  readonly ack?: 'local' | `peers:${number}`;
  /** Makes sending the same write again safe for ten minutes. */
  readonly request_id?: string;
}

export interface PutResult {
  readonly key: string;
  readonly version: number;
  readonly etag: string;
  readonly updated_at: number;
  /** Freshness token: pass it as `fresh_as_of` to see this write on any instance. */
  readonly token: string;
  /** Readers saw nothing there before; absent otherwise. */
  readonly created?: true;
}

export interface DeleteParams extends Precondition {
  readonly key: string;
}

export interface DeleteResult {
  readonly key: string;
  readonly version: number;
  readonly etag: string;
  readonly tombstone: true;
  readonly deleted_at: number;
  readonly token?: string;
}

/** In `batch-put`, entries are independent: each is answered by its result or its error, in the order sent. */
export type BatchPutItem =
  | PutResult
  | {
      readonly key: string;
      readonly error: { readonly code: number; readonly message: string; readonly data?: unknown };
    };

export type TransactionOperation = ({ readonly op: 'put' } & PutParams) | ({ readonly op: 'delete' } & DeleteParams);

export interface QueryParams {
  /** `*` stands for one segment, and as the last segment for one or more. */
  readonly pattern: string;
  /** Equality on dotted paths of the value, or a CEL expression over `value`. */
  readonly filter?: string | { readonly [path: string]: Json };
  readonly limit?: number;
  readonly cursor?: string;
  /** What `hold-snapshot` gave: the facts as they stood then. Absent: each page shows the moment in which it is read. */
  readonly snapshot?: string;
}

/** A state of all facts that an instance holds for queries, until it is released or was not asked for a while. */
export interface HeldSnapshot {
  readonly snapshot: string;
  /** The readers' clock then: what had expired by it is absent. */
  readonly at: number;
  /** How long after a query the next one may come. */
  readonly idle_seconds: number;
}

export interface QueryResult {
  readonly entries: readonly Entry[];
  readonly cursor?: string;
  /** False when a bound ended the search before everything was looked at. */
  readonly complete: boolean;
  /** Matching rows that cannot be read here: neither among the entries nor absent. The query is not complete then. */
  readonly damaged?: readonly { readonly key?: string; readonly message: string }[];
}

/** A version of an entry, newest first in `history`; a deletion has `tombstone`. */
export interface EntryVersion {
  readonly version: number;
  readonly etag: string;
  readonly updated_at: number;
  readonly value?: Json;
  readonly value_base64?: string;
  readonly tombstone?: boolean;
  readonly expires_at?: number;
}

/**
 * One change, as subscribers see it. `resync` means: what you hold may be older than the log; a snapshot follows.
 * `bookmark`: nothing changed but the place to resume from. `damaged`: a key that belongs into the snapshot cannot be read here; it is not absent.
 */
export interface DataEvent {
  readonly type: 'update' | 'delete' | 'superseded' | 'resync' | 'damaged' | 'bookmark';
  readonly key: string;
  readonly value?: Json;
  readonly value_base64?: string;
  readonly version: number;
  readonly etag: string;
  readonly timestamp: number;
  readonly expires_at?: number;
  /**
   * Of `superseded`: what stands instead. A write with `if_version` or `if_match` was accepted where it was made and then
   * lost to one of another instance that did not know of it; `version`, `etag` and `timestamp` are those of the write
   * that lost.
   */
  readonly winner?: {
    readonly value?: Json;
    readonly value_base64?: string;
    readonly deleted?: true;
    readonly version: number;
    readonly etag: string;
    readonly updated_at: number;
    readonly expires_at?: number;
  };
  /** Resume token: a subscription `from` it continues behind this event. */
  readonly token: string;
}

export interface SubscribeParams {
  readonly pattern: string;
  /** Starts with what is there now, in the shape of updates. */
  readonly include_existing?: boolean;
  /** A token to go on behind, or several joined by `,`: the first that the instance can go on from counts. */
  readonly from?: string;
}

/** What an instance holds, in all and by namespace. */
export interface DataStats {
  /** The id of the instance that answers. */
  readonly instance: string;
  readonly entries: number;
  readonly tombstones: number;
  readonly bytes: number;
  readonly disk_bytes: number;
  readonly namespaces: readonly {
    readonly namespace: string;
    readonly strategy: string;
    readonly entries: number;
    readonly tombstones: number;
    readonly bytes: number;
    readonly problem?: string;
  }[];
  readonly [detail: string]: unknown;
}

/** Every method of the data plane that answers once: what it takes and what it gives. */
export interface DataCalls {
  put: { params: PutParams; result: PutResult };
  'batch-put': { params: { entries: readonly PutParams[] }; result: { results: readonly BatchPutItem[] } };
  get: { params: { key: string; fresh_as_of?: string }; result: Entry | null };
  'batch-get': { params: { keys: readonly string[] }; result: { entries: readonly (Entry | null)[] } };
  delete: { params: DeleteParams; result: DeleteResult };
  transaction: {
    params: { operations: readonly TransactionOperation[] };
    result: { results: readonly (PutResult | DeleteResult)[]; version: number };
  };
  query: { params: QueryParams; result: QueryResult };
  'hold-snapshot': { params: Record<string, never>; result: HeldSnapshot };
  'release-snapshot': { params: { snapshot: string }; result: Record<string, never> };
  history: { params: { key: string; limit?: number }; result: { versions: readonly EntryVersion[] } };
  add: { params: { key: string; amount: number; window?: number }; result: { key: string; value: number } };
  'set-add': { params: { key: string; members: readonly Json[] }; result: { key: string; value: readonly Json[] } };
  'set-remove': { params: { key: string; members: readonly Json[] }; result: { key: string; value: readonly Json[] } };
  stats: { params: Record<string, never>; result: DataStats };
}
