import type { RememberedAnswer, RememberedResult } from './metadata.ts';
import type { WriteDone, WriteResult } from './write.ts';

/** How long `request_id` makes a retry safe. */
export const answerMemoryMs = 600_000;
/** Answers remembered at most; beyond it the oldest are forgotten early. */
export const answersMax = 500_000;

interface Held {
  readonly fingerprint: string;
  readonly untilMs: number;
  /** The batch that carries the first write; 0 once it is committed. */
  batch: number;
  results: readonly WriteResult[];
}

/** What was answered to requests that carried a `request_id`, so that a retry gets the same answer and writes nothing. */
export class Answers {
  readonly #held = new Map<string, Held>();

  restore(requestKey: string, row: RememberedAnswer): void {
    const results = row.results.map((result): WriteDone => ({ ok: true, ...result, repeated: true }));
    this.#held.set(requestKey, { fingerprint: row.fingerprint, untilMs: row.untilMs, batch: 0, results });
  }

  get(requestKey: string): Readonly<Held> | undefined {
    return this.#held.get(requestKey);
  }

  /** Takes in an answer. @returns the row to store with the batch, to be made when the batch is sealed */
  remember(
    requestKey: string,
    fingerprint: string,
    results: readonly WriteDone[],
    batch: number,
    nowMs: number,
  ): () => RememberedAnswer {
    const untilMs = nowMs + answerMemoryMs;
    this.#held.set(requestKey, { fingerprint, untilMs, batch, results: results.map((each) => new Repeated(each)) });
    return () => ({ fingerprint, untilMs, results: results.map(plain) });
  }

  /** The batch is committed: its answers no longer hold on to cells. */
  settle(requestKey: string): void {
    const held = this.#held.get(requestKey);
    if (held === undefined) return;
    held.batch = 0;
    held.results = held.results.map((each) => (each.ok ? { ok: true, ...plain(each), repeated: true } : each));
  }

  forget(requestKey: string): void {
    this.#held.delete(requestKey);
  }

  /** Keys whose time is over, oldest first, at most `limit`; they are forgotten. */
  expire(nowMs: number, limit: number): string[] {
    const over: string[] = [];
    for (const [requestKey, { untilMs, batch }] of this.#held) {
      if (over.length === limit || batch !== 0) break;
      if (untilMs > nowMs && this.#held.size - over.length <= answersMax) break;
      over.push(requestKey);
    }
    for (const requestKey of over) this.#held.delete(requestKey);
    return over;
  }
}

/** An answer given again. Tag and token are made when asked for, by then the batch is sealed. */
class Repeated implements WriteDone {
  readonly ok = true;
  readonly repeated = true;
  readonly #first: WriteDone;

  constructor(first: WriteDone) {
    this.#first = first;
  }

  get key(): string {
    return this.#first.key;
  }
  get version(): number {
    return this.#first.version;
  }
  get etag(): string {
    return this.#first.etag;
  }
  get updatedMs(): number {
    return this.#first.updatedMs;
  }
  get token(): string {
    return this.#first.token;
  }
  get isCreated(): boolean | undefined {
    return this.#first.isCreated;
  }
  get valueJson(): string | undefined {
    return this.#first.valueJson;
  }
}

function plain({ key, version, etag, updatedMs, token, isCreated, valueJson }: WriteDone): RememberedResult {
  return {
    key,
    version,
    etag,
    updatedMs,
    token,
    ...(isCreated && { isCreated }),
    ...(valueJson !== undefined && { valueJson }),
  };
}
