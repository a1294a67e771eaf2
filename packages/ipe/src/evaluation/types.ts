import type { Facts, ReceiptKind } from '@ipe/core/eval';
import type { Json } from '@ipe/core/policy';

/** What decisions need of the data plane; implemented there. */
export interface FactsSource {
  /** A view for one request, pinned until released. What has expired by `nowMs`, the request's time, is absent. */
  open(nowMs: number): Facts;
  /**
   * Waits until this instance has seen the write that `token` names.
   * @throws IpeError `unavailable` with reason `stale` after `timeoutMs`; `invalid_params` for a malformed token
   */
  freshAsOf(token: string, timeoutMs: number, signal: AbortSignal): Promise<void>;
  /** Entries of a namespace in key order, after `after`: candidates of a search. Keys come without the namespace. */
  scan(namespace: string, after: string | undefined, limit: number): Promise<FactPage>;
  /** What a key holds and what it held, newest first, as far back as versions are kept; empty where the namespace is not held. */
  versions(namespace: string, key: string): Promise<readonly FactVersion[]>;
}

/** A value that a key held, named by the writes it stems from. */
export interface FactVersion {
  readonly dots: readonly string[];
  readonly value: Json;
}

export interface FactPage {
  readonly entries: readonly { readonly key: string; readonly value: Json }[];
  /** Key to go on after; absent at the end. */
  readonly next?: string;
}

/** Where AuthZEN search takes its candidates from, for one type of entity. */
export interface SearchSource {
  /** Data namespace whose entries are the candidates. */
  readonly namespace: string;
  /** Dotted path of the id in the value; absent: the key is the id. */
  readonly idField?: string;
  /** Names that action search tries on resources of the type. */
  readonly actions?: readonly string[];
}

/** `[evaluation_plane]`, every field filled. */
export interface EvaluationConfig {
  /** Policy or directory that AuthZEN requests ask; may contain `{resource.type}` and `{action.name}`; empty: everything. */
  readonly authzenPath: string;
  /** Steps one policy may take in one decision. */
  readonly maxCost: number;
  readonly policyCacheBytes: number;
  readonly policyCacheAgeMs: number;
  /** Longest wait for `fresh_as_of`. */
  readonly freshWaitMs: number;
  /** Receipt of a request that does not name one. */
  readonly receipt: ReceiptKind;
  readonly search: Readonly<Record<string, SearchSource>>;
  /** Requests of one batch, at most. */
  readonly batchMax: number;
  /** Where the evaluation plane is reached from outside, without a trailing slash, for AuthZEN's metadata; absent: as the request says. */
  readonly publicUrl?: string;
}

export const defaultEvaluationConfig: EvaluationConfig = {
  authzenPath: '',
  maxCost: 1_000_000,
  policyCacheBytes: 10 * 1024 * 1024,
  policyCacheAgeMs: 300_000,
  freshWaitMs: 2_000,
  receipt: 'plain',
  search: {},
  batchMax: 1_000,
};
