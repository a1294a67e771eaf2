import { type Accepted, type Cut, cutsOf, type MemberState, supersedes } from '@ipe/core/replica';
import type { SigningKey } from './identity.ts';
import { type Statement, signStatement, verifyStatement } from './statement.ts';

/** What the cluster key vouches for about one instance. */
export interface MemberRecord extends MemberState {
  readonly v: 1;
  readonly id: string;
  /** Of the certificate that its peer links present. */
  readonly fingerprint: string;
  /** Ed25519 public key of its batches, root records and receipts. */
  readonly signingKey: string;
  /** Where its peer listener answers, `host:port`; null for a member that only dials. */
  readonly address: string | null;
  readonly issuedAtMs: number;
}

export type SignedMember = Statement<MemberRecord>;

const statementType = 'member';

/** Signs a record with the cluster key. */
export function signMember(clusterKey: SigningKey, record: MemberRecord): SignedMember {
  return signStatement(clusterKey, statementType, record);
}

type Listener = (record: MemberRecord) => void;

/**
 * The members of a cluster as the cluster key signed them. Holds verified records only; whoever composes the node loads
 * it from the replicated facts at start and writes back what `put` accepts.
 */
export class MemberDirectory {
  readonly clusterPublicKey: string;
  readonly #byOrigin = new Map<string, SignedMember>();
  readonly #byFingerprint = new Map<string, MemberRecord>();
  readonly #listeners = new Set<Listener>();

  constructor(clusterPublicKey: string) {
    this.clusterPublicKey = clusterPublicKey;
  }

  /**
   * Takes a record in when its signature is good and its sequence newer than what is held.
   * @returns whether the directory changed; false for forged, malformed, old or equal records.
   */
  put(signed: SignedMember): boolean {
    const record = signed.body;
    if (!isMemberRecord(record) || !verifyStatement(this.clusterPublicKey, statementType, signed)) return false;
    const held = this.#byOrigin.get(record.origin)?.body;
    if (held && !supersedes(record, held)) return false;
    if (held) this.#byFingerprint.delete(held.fingerprint);
    this.#byOrigin.set(record.origin, signed);
    this.#byFingerprint.set(record.fingerprint, record);
    for (const listener of this.#listeners) listener(record);
    return true;
  }

  /** The active member that owns a certificate, or undefined. */
  active(fingerprint: string): MemberRecord | undefined {
    const record = this.#byFingerprint.get(fingerprint);
    return record?.state === 'active' ? record : undefined;
  }

  /** The member that mints dots under `origin`, whatever its state. */
  byOrigin(origin: string): MemberRecord | undefined {
    return this.#byOrigin.get(origin)?.body;
  }

  /** By origin, what counts of members that were evicted once. */
  cuts(): ReadonlyMap<string, Cut> {
    return cutsOf([...this.#byOrigin.values()].map(({ body }) => body));
  }

  /** All records with their signatures, to hand to a joiner or to store, in order of origin. */
  list(): SignedMember[] {
    return [...this.#byOrigin.values()].sort((a, b) => (a.body.origin < b.body.origin ? -1 : 1));
  }

  /** Calls `listener` after each accepted record. @returns a function that stops it. */
  onChange(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

function isMemberRecord(value: unknown): value is MemberRecord {
  const record = value as MemberRecord | null;
  return (
    typeof record === 'object' &&
    record !== null &&
    record.v === 1 &&
    /^[0-9a-f]{16}$/.test(record.origin) &&
    typeof record.id === 'string' &&
    /^[0-9a-f]{64}$/.test(record.fingerprint) &&
    typeof record.signingKey === 'string' &&
    (record.address === null || typeof record.address === 'string') &&
    (record.state === 'active' || record.state === 'evicted') &&
    Number.isSafeInteger(record.sequence) &&
    Number.isFinite(record.issuedAtMs) &&
    isAccepted(record.lastAccepted ?? {})
  );
}

function isAccepted(value: unknown): value is Accepted {
  const isTable = (each: unknown): each is Record<string, unknown> => typeof each === 'object' && each !== null;
  return (
    isTable(value) &&
    Object.values(value).every(
      (seqs) => isTable(seqs) && Object.values(seqs).every((seq) => Number.isSafeInteger(seq) && (seq as number) >= 0),
    )
  );
}
