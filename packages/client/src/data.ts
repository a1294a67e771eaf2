import { IpeClientError } from './errors.ts';
import type { CallOptions } from './options.ts';
import type {
  DataCalls,
  DataEvent,
  DeleteParams,
  DeleteResult,
  Entry,
  Json,
  PutParams,
  PutResult,
  QueryParams,
  QueryResult,
  SubscribeParams,
} from './protocol/index.ts';
import type { Caller } from './rpc.ts';
import { type Watch, type WatchOptions, watch } from './subscription.ts';

/** Conditions and lifetime of a write, beside its key and value. */
export type WriteOptions = Omit<PutParams, 'key' | 'value' | 'value_base64'> & CallOptions;

/** Which events a subscription delivers and where it starts. */
export type DataWatchOptions = Omit<SubscribeParams, 'pattern'> & WatchOptions;

/**
 * The data plane: facts, written by services, read by policies.
 *
 * Every method rejects with `IpeClientError`; options take `signal` and `timeoutMs` as in `CallOptions`.
 */
export class DataPlane {
  readonly #caller: Caller;
  readonly #subscriptions: Pick<Watch<DataEvent>, 'open'>;

  constructor(caller: Caller, subscriptions: Pick<Watch<DataEvent>, 'open'>) {
    this.#caller = caller;
    this.#subscriptions = subscriptions;
  }

  /** Calls any data-plane method by its wire name. */
  call<M extends keyof DataCalls>(
    method: M,
    params: DataCalls[M]['params'],
    options?: CallOptions,
  ): Promise<DataCalls[M]['result']> {
    return this.#caller.call('data', method, params, options) as Promise<DataCalls[M]['result']>;
  }

  /**
   * Writes a fact whole. `ttl` is in seconds; without it the fact does not expire, even if it did before.
   *
   * @throws IpeClientError `conflict` when `if_version` or `if_match` no longer holds, the current entry in `details`.
   * @example await client.data.put('approvals.d1', { approvers: [] }, { if_version: 0 });
   */
  put(key: string, value: Json | Uint8Array, options: WriteOptions = {}): Promise<PutResult> {
    const [call, write] = splitOptions(options);
    const content = value instanceof Uint8Array ? { value_base64: Buffer.from(value).toString('base64') } : { value };
    return this.call('put', { key, ...content, ...write }, call);
  }

  /** Writes up to 10,000 independent facts; each is answered by its result or its error, in the order given. */
  putAll(entries: readonly PutParams[], options?: CallOptions): Promise<DataCalls['batch-put']['result']['results']> {
    return this.call('batch-put', { entries }, options).then(({ results }) => results);
  }

  /** Reads a fact; null when there is none. `fresh_as_of` waits until this instance has seen that write. */
  get(key: string, options: { readonly fresh_as_of?: string } & CallOptions = {}): Promise<Entry | null> {
    const [call, read] = splitOptions(options);
    return this.call('get', { key, ...read }, call);
  }

  /** Reads many facts from one snapshot; null in place of those that are not there. */
  getAll(keys: readonly string[], options?: CallOptions): Promise<readonly (Entry | null)[]> {
    return this.call('batch-get', { keys }, options).then(({ entries }) => entries);
  }

  /** Deletes a fact, leaving a tombstone that wins over older writes elsewhere. Deleting nothing succeeds. */
  delete(key: string, options: Omit<DeleteParams, 'key'> & CallOptions = {}): Promise<DeleteResult> {
    const [call, conditions] = splitOptions(options);
    return this.call('delete', { key, ...conditions }, call);
  }

  /** Applies up to 1,000 writes of one namespace together, or none of them. */
  transaction(
    operations: DataCalls['transaction']['params']['operations'],
    options?: CallOptions,
  ): Promise<DataCalls['transaction']['result']> {
    return this.call('transaction', { operations }, options);
  }

  /**
   * Iterates over all facts that match, page by page; each page is read when the loop gets there.
   * @throws IpeClientError `corrupt`, after everything else was given, where the instance cannot read some of them
   */
  async *query(
    pattern: string,
    options: Omit<QueryParams, 'pattern' | 'cursor'> & CallOptions = {},
  ): AsyncGenerator<Entry, void, void> {
    const damaged: DamagedRow[] = [];
    for await (const page of this.pages(pattern, options)) {
      yield* page.entries;
      damaged.push(...(page.damaged ?? []));
    }
    if (damaged.length > 0) throw unreadable(damaged);
  }

  /**
   * The pages of a query, for a caller that keeps its place: `cursor` of a page, given as option, goes on behind it. With
   * `snapshot`, which `hold-snapshot` gives, they all show one state of the facts.
   */
  async *pages(
    pattern: string,
    options: Omit<QueryParams, 'pattern'> & CallOptions = {},
  ): AsyncGenerator<QueryResult, void, void> {
    const [call, { cursor: from, ...params }] = splitOptions(options);
    let cursor = from;
    do {
      const page = await this.call('query', { pattern, ...params, ...(cursor === undefined ? {} : { cursor }) }, call);
      yield page;
      cursor = page.cursor;
    } while (cursor !== undefined);
  }

  /** Adds to a counter (a namespace with `conflict_strategy = "counter"`); resolves with its total in that window. */
  add(key: string, amount: number, options: { readonly window?: number } & CallOptions = {}): Promise<number> {
    const [call, params] = splitOptions(options);
    return this.call('add', { key, amount, ...params }, call).then(({ value }) => value);
  }

  /** Adds members to a set; resolves with the set. */
  setAdd(key: string, members: readonly Json[], options?: CallOptions): Promise<readonly Json[]> {
    return this.call('set-add', { key, members }, options).then(({ value }) => value);
  }

  /** Removes members from a set; resolves with the set. */
  setRemove(key: string, members: readonly Json[], options?: CallOptions): Promise<readonly Json[]> {
    return this.call('set-remove', { key, members }, options).then(({ value }) => value);
  }

  /**
   * Follows the changes of all keys that match, at least once each, in order per key, across broken connections.
   * The loop body holds the stream back, so nothing piles up. On `resync` forget what you hold: a snapshot follows.
   *
   * @example for await (const event of client.data.watch('approvals.*', { signal })) console.log(event.key, event.value);
   */
  watch(pattern: string, options: DataWatchOptions = {}): AsyncGenerator<DataEvent, void, void> {
    const { signal: _signal, reconnect: _reconnect, from, ...wanted } = options;
    // What another instance can go on from, where the one that gave the last token is gone.
    let bookmark: string | undefined;
    return watch(
      {
        open: this.#subscriptions.open,
        subscribe: (session, token = from, signal) => {
          // What existed was delivered before the first token was taken, so a resumed subscription must not repeat it.
          const start = token === undefined ? wanted : { ...wanted, include_existing: false, from: token };
          return session.call('data', 'subscribe', { pattern, ...start }, { signal, timeoutMs: 0 });
        },
        event: ({ event, params }) => (event === 'data-changed' ? (params as DataEvent) : undefined),
        token: (event, { id }) => {
          const token = event.token ?? id;
          if (event.type === 'bookmark') bookmark = token;
          return bookmark === undefined || bookmark === token ? token : `${token},${bookmark}`;
        },
      },
      options,
    );
  }
}

type DamagedRow = NonNullable<QueryResult['damaged']>[number];

/** What is said of facts that a query found and could not read. */
function unreadable(damaged: readonly DamagedRow[]): IpeClientError {
  const named = damaged.slice(0, 5).map(({ key }) => (key === undefined ? 'one whose key is sealed' : `\`${key}\``));
  const more = damaged.length > named.length ? `, and ${damaged.length - named.length} more` : '';
  return new IpeClientError(
    'corrupt',
    `${damaged.length} of the facts that match cannot be read: ${named.join(', ')}${more}; all others were given`,
    { state: 'unchanged', details: { damaged } },
  );
}

/** Parts what steers the call from what is sent. */
function splitOptions<T extends CallOptions>(options: T): [CallOptions, Omit<T, keyof CallOptions>] {
  const { signal, timeoutMs, ...params } = options;
  const call = { ...(signal === undefined ? {} : { signal }), ...(timeoutMs === undefined ? {} : { timeoutMs }) };
  return [call, params];
}
