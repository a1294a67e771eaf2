import { type Cell, isToTell, newestOf } from '@ipe/core/replica';
import type { MemberDirectory, SignedMember } from '../cluster/members.ts';
import type { Applied } from '../data/index.ts';

export interface MemberFactsOptions {
  /** Of this instance. */
  readonly origin: string;
  readonly directory: Pick<MemberDirectory, 'list' | 'put' | 'onChange'>;
  /** The engine, as far as facts about members go through it. */
  readonly facts: {
    get(key: string): Cell | Promise<Cell>;
    put(key: string, value: unknown): Promise<unknown>;
    onApplied(listener: (applied: Pick<Applied, 'cells'>) => void): () => void;
  };
  readonly onError: (error: unknown) => void;
}

export const memberPrefix = '_sys.members.';
const retryMs = 1_000;

/**
 * Keeps the directory of members and the facts under `_sys.members` equal: what one learns, the other is told. What could
 * not be stored is tried again until it is: an eviction that stands in the directory alone reaches nobody else, and then
 * the evicted member could never return.
 */
export class MemberFacts {
  readonly #options: MemberFactsOptions;
  readonly #retries = new Map<string, NodeJS.Timeout>();
  readonly #stops: readonly (() => void)[];
  #isClosed = false;

  constructor(options: MemberFactsOptions) {
    this.#options = options;
    const { directory, facts } = options;
    for (const { body } of directory.list()) this.#check(body.origin);
    this.#stops = [
      facts.onApplied(({ cells }) => {
        for (const [key, { after }] of cells)
          if (key.startsWith(memberPrefix)) for (const value of after.values) this.#learn(value);
      }),
      directory.onChange(({ origin }) => this.#check(origin)),
    ];
  }

  close(): void {
    this.#isClosed = true;
    for (const stop of this.#stops) stop();
    for (const timer of this.#retries.values()) clearTimeout(timer);
    this.#retries.clear();
  }

  #held(origin: string | undefined): SignedMember | undefined {
    return this.#options.directory.list().find(({ body }) => body.origin === origin);
  }

  #learn(value: unknown): void {
    if (typeof value !== 'object' || value === null) return;
    const told = value as SignedMember;
    if (this.#options.directory.put(told)) return;
    // Written by one that did not know better yet, and later: others would go by it.
    const held = this.#held(told.body?.origin);
    if (held !== undefined && held.body.sequence > told.body.sequence) this.#check(held.body.origin);
  }

  #check(origin: string): void {
    this.#compare(origin).catch((error) => {
      if (this.#isClosed) return;
      this.#options.onError(error);
      clearTimeout(this.#retries.get(origin));
      this.#retries.set(origin, setTimeout(() => this.#check(origin), retryMs).unref());
    });
  }

  async #compare(origin: string): Promise<void> {
    const { facts, origin: self } = this.#options;
    const cell = await facts.get(memberPrefix + origin);
    const told = toldOf(cell);
    const held = this.#held(origin);
    if (held === undefined) return;
    if (isToTell(held.body, told?.body, self)) await facts.put(memberPrefix + origin, held);
    else this.#learn(told);
  }
}

/** What a fact says of a member: of what several wrote side by side, the record that takes the place of the others. */
export const toldOf = (fact: Cell): SignedMember | undefined =>
  newestOf(fact.values.filter(isSigned), ({ body }) => body);

/** What stands there is checked where it is taken in; here only that it can be compared. */
const isSigned = (value: unknown): value is SignedMember =>
  typeof (value as Partial<SignedMember> | null)?.body?.sequence === 'number';
