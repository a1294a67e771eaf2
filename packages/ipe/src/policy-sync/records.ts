import { IpeError } from '@ipe/core';
import type { SigningKey } from '../cluster/identity.ts';
import { type Statement, signStatement, verifyStatement } from '../cluster/statement.ts';

/** Which instance takes policy writes from a term on, as the cluster key says. A higher term replaces a lower one. */
export interface TermRecord {
  readonly v: 1;
  readonly term: number;
  /** `origin` of the member that takes policy writes. */
  readonly origin: string;
  readonly issuedAtMs: number;
}

/** What the origin says its `main` is. Ordered by term, then sequence. */
export interface RootRecord {
  readonly v: 1;
  readonly term: number;
  /** Counts up with each record of a term, from 1. */
  readonly sequence: number;
  /** Root commit of `main`. */
  readonly rootCommit: string;
  /** Content root. */
  readonly root: string;
  /** Root commit of the record before; null for the first of a term. */
  readonly previous: string | null;
  readonly timeMs: number;
  /** `origin` of the member that signs. */
  readonly origin: string;
}

export type SignedTerm = Statement<TermRecord>;
export type SignedRoot = Statement<RootRecord>;

/** What one instance tells another: the term it knows and the newest root record it has verified or made. */
export interface HeadMessage {
  readonly term: SignedTerm | null;
  readonly head: SignedRoot | null;
}

const termType = 'policy-term';
const rootType = 'root';

export function signTerm(clusterKey: SigningKey, record: TermRecord): SignedTerm {
  return signStatement(clusterKey, termType, record);
}

export function signRoot(key: SigningKey, record: RootRecord): SignedRoot {
  return signStatement(key, rootType, record);
}

/** Whether the cluster key signed this term record. */
export function isTerm(clusterPublicKey: string, signed: unknown): signed is SignedTerm {
  const record = bodyOf(signed) as Partial<TermRecord> | undefined;
  return (
    record !== undefined &&
    record.v === 1 &&
    isCount(record.term) &&
    typeof record.origin === 'string' &&
    /^[0-9a-f]{16}$/.test(record.origin) &&
    Number.isFinite(record.issuedAtMs) &&
    verifyStatement(clusterPublicKey, termType, signed as SignedTerm)
  );
}

/**
 * Checks a root record against the term, its signer and the record verified last: pure, and the only way in.
 * @param signingKey  of the member whom the term names; undefined where it is unknown or evicted
 * @throws IpeError `unauthenticated` for what nobody entitled signed; `conflict` for what is older than `last`, or another
 *   record of the same place
 */
export function checkRoot(
  signed: unknown,
  {
    term,
    signingKey,
    last,
  }: { readonly term: TermRecord; readonly signingKey: string | undefined; readonly last: RootRecord | undefined },
): RootRecord {
  const record = bodyOf(signed) as RootRecord | undefined;
  if (record === undefined || !isRootRecord(record)) throw refused('a malformed root record was refused');
  if (record.term !== term.term) {
    throw new IpeError('conflict', `a root record of term ${record.term} was refused: the term is ${term.term}`);
  }
  if (record.origin !== term.origin) throw refused(`a root record was refused: \`${record.origin}\` is not the origin`);
  if (signingKey === undefined || !verifyStatement(signingKey, rootType, signed as SignedRoot)) {
    throw refused('a root record was refused: its signature is not of the origin');
  }
  if (last === undefined || last.term < record.term) return record;
  const isSame = last.sequence === record.sequence && last.rootCommit === record.rootCommit;
  if (last.term > record.term || last.sequence > record.sequence || (last.sequence === record.sequence && !isSame)) {
    const details = { verified: { term: last.term, sequence: last.sequence }, offered: record };
    throw new IpeError(
      'conflict',
      `a root record was refused: it is ${record.term}.${record.sequence}, and ${last.term}.${last.sequence} was verified before; an origin restored from a backup must be promoted`,
      { details },
    );
  }
  if (last.sequence + 1 === record.sequence && record.previous !== last.rootCommit) {
    throw new IpeError('conflict', 'a root record was refused: it does not follow the one verified before');
  }
  return record;
}

function bodyOf(signed: unknown): object | undefined {
  if (typeof signed !== 'object' || signed === null) return undefined;
  const { body } = signed as { body?: unknown };
  return typeof body === 'object' && body !== null ? body : undefined;
}

function isRootRecord(record: RootRecord): boolean {
  return (
    record.v === 1 &&
    isCount(record.term) &&
    isCount(record.sequence) &&
    isId(record.rootCommit) &&
    isId(record.root) &&
    (record.previous === null || isId(record.previous)) &&
    Number.isFinite(record.timeMs) &&
    typeof record.origin === 'string'
  );
}

const isId = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 1;

function refused(message: string): IpeError {
  return new IpeError('unauthenticated', message);
}
