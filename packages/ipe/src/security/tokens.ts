import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import { type TokenKind, tokenKinds } from '@ipe/client/protocol';

/** A token as it is kept: everything but the token. */
export interface TokenRecord {
  /** Public part, 16 hexadecimal digits: names the token in lists, logs and revocation. */
  readonly id: string;
  readonly kind: TokenKind;
  /** The service, application or person it was issued to. */
  readonly name: string;
  /** SHA-256 of the token, hexadecimal. */
  readonly hash: string;
  /** Data namespaces of a service token; absent: all that are not reserved. */
  readonly namespaces?: readonly string[];
  /** Verbs of a service token; absent: both. */
  readonly verbs?: readonly ('read' | 'write')[];
  /** Extra grants, such as `explain`. */
  readonly grants?: readonly string[];
  /** Unix seconds. */
  readonly created_at: number;
  /** Unix seconds; absent: never. */
  readonly expires_at?: number;
}

/** What a token is issued with. */
export type TokenGrant = Pick<TokenRecord, 'kind' | 'name' | 'namespaces' | 'verbs' | 'grants' | 'expires_at'>;

const pattern = new RegExp(`^ipe_(${tokenKinds.join('|')})_([0-9a-f]{16})_([0-9A-Za-z]{43})$`);

/** Taking part in every hash, so that it means nothing elsewhere. */
const domain = 'ipe token v1\0';

/**
 * Draws a token: `ipe_<kind>_<id>_<secret>`, 256 random bits in the secret. The text is shown once and not kept.
 * @param nowSeconds Unix time, written as `created_at`.
 */
export function issueToken(grant: TokenGrant, nowSeconds: number): { token: string; record: TokenRecord } {
  const id = randomBytes(8).toString('hex');
  const token = `ipe_${grant.kind}_${id}_${base62(randomBytes(32))}`;
  return { token, record: { id, ...withoutUndefined(grant), hash: hashToken(token), created_at: nowSeconds } };
}

/** The record under which a token of a file of one's own is taken in: the id follows from the token. */
export function recordOf(token: string, grant: TokenGrant, nowSeconds: number): TokenRecord {
  const hash = hashToken(token);
  return { id: idOf(token) ?? hash.slice(0, 16), ...withoutUndefined(grant), hash, created_at: nowSeconds };
}

/** The public part of a token in IPE's own form; undefined for any other text. */
export function idOf(token: string): string | undefined {
  return pattern.exec(token)?.[2];
}

/**
 * SHA-256 of a token. Neither salt nor stretching is needed: a token of 256 random bits cannot be guessed from its hash,
 * and the same hash can be checked by every instance the record is replicated to.
 */
export function hashToken(token: string): string {
  return hash('sha256', domain + token, 'hex');
}

/** Whether two hashes are equal, in a time that does not tell where they differ. */
export function sameHash(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a, 'hex'), Buffer.from(b, 'hex')];
  return left.length === right.length && timingSafeEqual(left, right);
}

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** 32 bytes as 43 letters and digits: no character that a shell, a URL or a double click would trip over. */
function base62(bytes: Uint8Array): string {
  let value = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  let text = '';
  for (let i = 0; i < 43; i++) {
    text = digits[Number(value % 62n)]! + text;
    value /= 62n;
  }
  return text;
}

const withoutUndefined = <T extends object>(value: T): T =>
  Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
