import { type Accepted, acceptedUpTo } from '../exchange/index.ts';
import type { LogRecord } from '../record.ts';

/** How a member stands, as the cluster key signed it. */
export interface Standing {
  readonly state: 'active' | 'evicted';
  /** Of a member that was evicted once: the last records accepted of the sources under which it wrote until then. */
  readonly lastAccepted?: Accepted;
}

export interface ReceptionOptions {
  /** Origin of this instance: its own batches come back from most planes. */
  readonly origin: string;
  readonly isOfInterest: (namespace: string) => boolean;
  readonly standingOf: (origin: string) => Standing | undefined;
  /** Batches of unknown signers, or under unknown keys, that are kept until the record or the key arrives. */
  readonly parkedMax: number;
}

/** What is to become of a batch, going by what it claims to be. */
export type Claim = 'ignore' | 'park' | 'open';

/** Decides which batches and records of the message plane are taken, and keeps those whose signer or key is not known yet. */
export class Reception<Delivery> {
  readonly #options: ReceptionOptions;
  #parked: Delivery[] = [];

  constructor(options: ReceptionOptions) {
    this.#options = options;
  }

  get parkedCount(): number {
    return this.#parked.length;
  }

  /** Nothing of a claim is to be believed before the signature is checked. */
  judge({ namespace, origin }: { readonly namespace: string; readonly origin: string }): Claim {
    const { origin: own, isOfInterest, standingOf } = this.#options;
    if (origin === own || !isOfInterest(namespace)) return 'ignore';
    return standingOf(origin) === undefined ? 'park' : 'open';
  }

  /** Keeps a delivery, which must own its bytes. */
  park(delivery: Delivery): void {
    // The oldest goes first: it is the likeliest to have been found by anti-entropy meanwhile.
    if (this.#parked.length >= this.#options.parkedMax) this.#parked.shift();
    this.#parked.push(delivery);
  }

  /** Parked deliveries, to be judged again: a member record or a key has arrived. */
  unpark(): readonly Delivery[] {
    const parked = this.#parked;
    this.#parked = [];
    return parked;
  }

  /** Those records of a checked batch that may be taken: all, or of one that was evicted once what counts of it. */
  accepted(origin: string, records: readonly LogRecord[]): readonly LogRecord[] {
    const { state, lastAccepted } = this.#options.standingOf(origin) ?? { state: 'evicted' };
    if (state === 'active' && lastAccepted === undefined) return records;
    const cut = { accepted: lastAccepted ?? {}, isClosed: state === 'evicted' };
    return records.filter(({ namespace, source, seq }) => seq <= acceptedUpTo(cut, namespace, source));
  }
}
