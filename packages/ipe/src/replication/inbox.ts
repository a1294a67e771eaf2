import { IpeError, isIpeError } from '@ipe/core';
import type { PlaneDelivery } from '@ipe/core/plane';
import { decodeRecord, type LogRecord, Reception, type Sources } from '@ipe/core/replica';
import type { KeyRing } from '../cluster/key-ring.ts';
import type { MemberRecord } from '../cluster/members.ts';
import { claimOf, openBatch } from './envelope.ts';

export interface InboxOptions {
  /** Origin of this instance: its own batches come back from most planes. */
  readonly origin: string;
  readonly sources: Sources;
  readonly memberOf: (origin: string) => MemberRecord | undefined;
  readonly ring: Pick<KeyRing, 'keyOf' | 'current'> | undefined;
  /** A batch is sealed with a key that is not known here yet. */
  readonly onUnknownKey: () => void;
  readonly isOfInterest: (namespace: string) => boolean;
  /** `bytes`: the size of the batch that they came in. */
  readonly take: (from: string, records: readonly LogRecord[], bytes: number) => void;
  /** A batch without records announces some that the plane could not carry. */
  readonly onAnnounced: (namespace: string, origin: string) => void;
  readonly onRejected: (why: string, details: Readonly<Record<string, unknown>>) => void;
}

/** Batches of signers or under keys that are not known yet, kept until the record or the key arrives. */
const parkedMax = 1_000;

/** Why a batch was not taken, for metrics. */
export type Rejection = 'malformed' | 'forged' | 'evicted' | 'unreadable';

/**
 * Takes batches from the message plane: checks who signed them against the member list, and hands their records to the
 * replica. What is forged, altered or from an evicted member is rejected, counted and named; what is from a signer, or
 * under a key, that nobody has told us of is parked.
 */
export class Inbox {
  readonly #options: InboxOptions;
  readonly #reception: Reception<PlaneDelivery>;
  readonly rejected: Record<Rejection, number> = { malformed: 0, forged: 0, evicted: 0, unreadable: 0 };
  received = 0;

  constructor(options: InboxOptions) {
    this.#options = options;
    const { origin, isOfInterest, memberOf: standingOf } = options;
    this.#reception = new Reception({ origin, isOfInterest, standingOf, parkedMax });
  }

  get parked(): number {
    return this.#reception.parkedCount;
  }

  /** Takes one delivery. Never throws: whatever cannot be used here must not come again. */
  deliver(delivery: PlaneDelivery): void {
    try {
      this.#take(delivery);
    } catch (error) {
      if (!isIpeError(error)) throw error;
      this.#reject(error.reason === 'unauthenticated' ? 'forged' : 'malformed', error);
    }
  }

  /** Tries parked batches again: a member record or a key has arrived. */
  retry(): void {
    for (const delivery of this.#reception.unpark()) this.deliver(delivery);
  }

  #take(delivery: PlaneDelivery): void {
    const { sources, memberOf, ring, take, onAnnounced } = this.#options;
    const claim = claimOf(delivery.body);
    const verdict = this.#reception.judge(claim);
    if (verdict === 'park') this.#reception.park({ ...delivery, body: delivery.body.slice() });
    const member = memberOf(claim.origin);
    if (verdict !== 'open' || member === undefined) return;
    const batch = openBatch(delivery.body, member.signingKey, (number) => ring?.keyOf(number));
    if ('unknownKey' in batch) {
      this.#cannotOpen(delivery, claim, batch.unknownKey);
      return;
    }
    const records = batch.records.map((bytes) => decodeRecord(bytes, sources));
    for (const record of records) {
      if (record.namespace !== batch.namespace || record.source.origin !== batch.origin) {
        throw new IpeError('invalid_request', `a batch of \`${batch.origin}\` holds a record of another`, {
          details: { origin: batch.origin, namespace: batch.namespace },
        });
      }
    }
    this.received++;
    if (records.length === 0) {
      onAnnounced(batch.namespace, batch.origin);
      return;
    }
    const accepted = this.#reception.accepted(batch.origin, records);
    if (accepted.length < records.length) {
      this.#reject('evicted', new IpeError('forbidden', `\`${batch.origin}\` was evicted before it wrote this`));
    }
    if (accepted.length > 0) take(batch.origin, accepted, delivery.body.length);
  }

  /** Newer than all that is known here: its key is on the way. Older than what is kept: anti-entropy must bring it. */
  #cannotOpen(
    delivery: PlaneDelivery,
    { namespace, origin }: { namespace: string; origin: string },
    key: number,
  ): void {
    const { ring, onUnknownKey, onAnnounced } = this.#options;
    if (key > (ring?.current.number ?? 0)) {
      this.#reception.park({ ...delivery, body: delivery.body.slice() });
      onUnknownKey();
      return;
    }
    this.#reject(
      'unreadable',
      new IpeError('unavailable', `a batch is sealed with key ${key}, which is not kept any more`),
    );
    onAnnounced(namespace, origin);
  }

  #reject(why: Rejection, error: IpeError): void {
    this.rejected[why]++;
    this.#options.onRejected(error.message, { ...error.details, why });
  }
}
