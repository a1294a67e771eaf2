import { hkdfSync, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';
import { readIfPresent, type SigningKey, writePrivate } from './identity.ts';
import { type Statement, signStatement, verifyStatement } from './statement.ts';

/** A key that seals batches, by the number that stands in their head. */
export interface SealingKey {
  readonly number: number;
  /** 32 bytes. */
  readonly key: Uint8Array;
}

/** A later secret of the cluster, as its key vouches for it. The first is the cluster secret itself. */
export interface RingSecret {
  readonly v: 1;
  /** From 2 on. */
  readonly number: number;
  /** 32 bytes in base64url. */
  readonly secret: string;
  readonly issuedAtMs: number;
}

export type SignedSecret = Statement<RingSecret>;

const statementType = 'sealing-secret';
const fileName = 'sealing.json';
/** Secrets kept for reading: what a broker still holds of older ones comes by anti-entropy. */
const secretsMax = 64;

/**
 * The secrets from which the keys are derived that seal batches: a new one at each eviction, so that the evicted member
 * cannot read what is published afterwards. Older ones are kept to open what was sealed before. Members give them to
 * each other over their links, and nowhere else.
 */
export class KeyRing {
  readonly #path: string;
  readonly #clusterPublicKey: string;
  readonly #signed = new Map<number, SignedSecret>();
  readonly #keys = new Map<number, Uint8Array>();
  readonly #listeners = new Set<() => void>();
  #current = 1;
  #saving: Promise<void> = Promise.resolve();

  private constructor(path: string, clusterPublicKey: string, clusterSecret: Uint8Array) {
    this.#path = path;
    this.#clusterPublicKey = clusterPublicKey;
    this.#keys.set(1, derived(clusterSecret, 1));
  }

  /**
   * Reads the ring kept in `folder`.
   * @param given secrets that came with joining
   * @throws IpeError `corrupt` for a file that does not decode
   */
  static async open(
    folder: string,
    cluster: { readonly publicKey: string; readonly secret: Uint8Array },
    given: readonly SignedSecret[] = [],
  ): Promise<KeyRing> {
    const ring = new KeyRing(join(folder, fileName), cluster.publicKey, cluster.secret);
    for (const signed of await readRing(ring.#path)) ring.#put(signed);
    if (given.filter((signed) => ring.#put(signed)).length > 0) await ring.#save();
    return ring;
  }

  /** The key to seal with: the newest that is known here. */
  get current(): SealingKey {
    return { number: this.#current, key: this.#keys.get(this.#current)! };
  }

  keyOf(number: number): Uint8Array | undefined {
    return this.#keys.get(number);
  }

  /** Secrets with higher numbers, lowest first. */
  after(number: number): SignedSecret[] {
    return [...this.#signed.values()]
      .filter(({ body }) => body.number > number)
      .sort((a, b) => a.body.number - b.body.number);
  }

  /** Makes a new secret, to seal with from now on. @param clusterKey which members know it by */
  rotate(clusterKey: SigningKey, nowMs: number): void {
    const secret = randomBytes(32).toString('base64url');
    const body: RingSecret = { v: 1, number: this.#current + 1, secret, issuedAtMs: nowMs };
    this.take([signStatement(clusterKey, statementType, body)]);
  }

  /** Takes in secrets of which a member told. Those that the cluster key did not sign are passed over. */
  take(secrets: readonly SignedSecret[]): void {
    if (secrets.filter((signed) => this.#put(signed)).length === 0) return;
    this.#saving = this.#saving.then(() => this.#save()).catch(() => {});
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` after secrets came in. @returns a function that stops it */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Waits until what is known is on disk. */
  async close(): Promise<void> {
    await this.#saving;
  }

  #put(signed: SignedSecret): boolean {
    const { body } = signed;
    if (!isRingSecret(body) || !verifyStatement(this.#clusterPublicKey, statementType, signed)) return false;
    const held = this.#signed.get(body.number)?.body;
    // Two under one number: the cluster key was on two members. All keep the same.
    if (held !== undefined && held.secret >= body.secret) return false;
    if (body.number <= this.#current - secretsMax) return false;
    this.#signed.set(body.number, signed);
    this.#keys.set(body.number, derived(Buffer.from(body.secret, 'base64url'), body.number));
    this.#current = Math.max(this.#current, body.number);
    for (const number of [...this.#keys.keys()]) {
      if (number > this.#current - secretsMax) continue;
      this.#signed.delete(number);
      this.#keys.delete(number);
    }
    return true;
  }

  async #save(): Promise<void> {
    await writePrivate(this.#path, `${JSON.stringify(this.after(0))}\n`);
  }
}

/** The sealing key of a number, from its secret. */
function derived(secret: Uint8Array, number: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, '', `ipe-batch-seal-${number}`, 32));
}

function isRingSecret(value: unknown): value is RingSecret {
  const secret = value as RingSecret | null;
  return (
    typeof secret === 'object' &&
    secret !== null &&
    secret.v === 1 &&
    Number.isSafeInteger(secret.number) &&
    secret.number >= 2 &&
    secret.number <= 0xffffffff &&
    typeof secret.secret === 'string' &&
    Buffer.from(secret.secret, 'base64url').length === 32
  );
}

async function readRing(path: string): Promise<SignedSecret[]> {
  const text = await readIfPresent(path);
  if (text === undefined) return [];
  try {
    return JSON.parse(text) as SignedSecret[];
  } catch (cause) {
    throw new IpeError('corrupt', `\`${path}\` does not decode; remove it, other members have what was in it`, {
      cause,
    });
  }
}
