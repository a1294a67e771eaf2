import { IpeError, isIpeError } from '@ipe/core';
import type { PlaneDelivery } from '@ipe/core/plane';
import { decodeRecord, type LogRecord, Reception, type Sources } from '@ipe/core/replica';
import type { MemberRecord } from '../cluster/members.ts';
import { claimOf, openBatch } from './envelope.ts';

export interface InboxOptions {
  /** Origin of this instance: its own batches come back from most planes. */
  readonly origin: string;
  readonly sources: Sources;
  readonly memberOf: (origin: string) => MemberRecord | undefined;
  readonly sealingKeyOf: (number: number) => Uint8Array | undefined;
  readonly isOfInterest: (namespace: string) => boolean;
  /** `bytes`: the size of the batch that they came in. */
  readonly take: (from: string, records: readonly LogRecord[], bytes: number) => void;
  /** A batch without records announces some that the plane could not carry. */
  readonly onAnnounced: (namespace: string, origin: string) => void;
  readonly onRejected: (why: string, details: Readonly<Record<string, unknown>>) => void;
}

/** Batches of signers that are not known yet, kept until their member record arrives. */
const parkedMax = 1_000;

/** Why a batch was not taken, for metrics. */
export type Rejection = 'malformed' | 'forged' | 'evicted';

/**
 * Takes batches from the message plane: checks who signed them against the member list, and hands their records to the
 * replica. What is forged, altered or from an evicted member is rejected, counted and named; what is from a signer that
 * nobody has told us of is parked.
 */
export class Inbox {
  readonly #options: InboxOptions;
  readonly #reception: Reception<PlaneDelivery>;
  readonly rejected: Record<Rejection, number> = { malformed: 0, forged: 0, evicted: 0 };
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

  /** Tries parked batches again: a member record has arrived. */
  membersChanged(): void {
    for (const delivery of this.#reception.unpark()) this.deliver(delivery);
  }

  #take(delivery: PlaneDelivery): void {
    const { sources, memberOf, sealingKeyOf, take, onAnnounced } = this.#options;
    const claim = claimOf(delivery.body);
    const verdict = this.#reception.judge(claim);
    if (verdict === 'park') this.#reception.park({ ...delivery, body: delivery.body.slice() });
    const member = memberOf(claim.origin);
    if (verdict !== 'open' || member === undefined) return;
    const batch = openBatch(delivery.body, member.signingKey, sealingKeyOf);
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

  #reject(why: Rejection, error: IpeError): void {
    this.rejected[why]++;
    this.#options.onRejected(error.message, { ...error.details, why });
  }
}
