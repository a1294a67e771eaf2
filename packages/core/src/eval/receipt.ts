import { canonicalJson, type Primitives, toHex } from '../bytes/index.ts';
import { languageVersion } from '../policy/index.ts';
import type { Json, JsonObject } from '../policy/json.ts';
import type { EvaluationRequest } from '../policy/request.ts';
import type { Decision } from '../policy/test-document.ts';
import type { AppliedPolicy, Finding, Outcome } from './decide.ts';
import type { FactLookup } from './facts.ts';

/** How much of a decision its receipt keeps. `full` embeds the input and the values read, so that it can be replayed anywhere. */
export const receiptKinds = ['none', 'plain', 'signed', 'full'] as const;
export type ReceiptKind = (typeof receiptKinds)[number];

/** Everything a decision depended on, in JSON. */
export interface Receipt {
  readonly v: 1;
  readonly id: string;
  /** The policy or directory asked. */
  readonly path: string;
  /** Content root that was asked. */
  readonly root: string;
  readonly commit: string | null;
  /** Tree id of what was asked: it names every policy below, so it proves that none was left out. */
  readonly scope: { readonly kind: 'policy' | 'directory'; readonly id: string };
  readonly applied: readonly AppliedPolicy[];
  /** SHA-256 of the RFC 8785 form of the request; `value` in full receipts. */
  readonly input: { readonly sha256: string; readonly value?: EvaluationRequest };
  /** Unix seconds. */
  readonly now: number;
  /** By namespace looked at; null: not held. */
  readonly staleness_ms: { readonly [namespace: string]: number | null };
  /** Each key once, sorted. */
  readonly reads: readonly FactRead[];
  readonly decision: Decision;
  readonly reasons: readonly Finding[];
  readonly engine: string;
  /** Version of the policy language. */
  readonly language: number;
  readonly instance: string;
  readonly signature: ReceiptSignature | null;
}

/** One fact as a decision found it. */
export type FactRead =
  | { readonly key: string; readonly dots: readonly string[]; readonly sha256: string; readonly value?: Json }
  | { readonly key: string; readonly absent: true }
  | { readonly key: string; readonly error: string };

export interface ReceiptSignature {
  /** Names the key, so that a verifier can find it. */
  readonly key: string;
  readonly algorithm: 'Ed25519';
  /** Over `receiptBytes`; base64url. */
  readonly value: string;
}

/** Signs receipts; the key stays where it is. */
export interface ReceiptSigner {
  readonly key: string;
  /** Ed25519 (RFC 8032) over `bytes`, in base64url. */
  sign(bytes: Uint8Array): string;
}

export interface ReceiptInput {
  readonly kind: Exclude<ReceiptKind, 'none'>;
  readonly id: string;
  readonly path: string;
  readonly root: string;
  readonly commit: string | null;
  readonly scope: Receipt['scope'];
  readonly request: EvaluationRequest;
  readonly outcome: Outcome;
  readonly engine: string;
  readonly instance: string;
  /** Needed for `signed`; a `full` receipt is signed when it is given. */
  readonly signer?: ReceiptSigner;
}

/**
 * The receipt of a decision.
 *
 * @throws TypeError when a `signed` receipt is asked without a signer
 */
export function makeReceipt(input: ReceiptInput, primitives: Primitives): Receipt {
  const { outcome, kind } = input;
  if (kind === 'signed' && input.signer === undefined) throw new TypeError('a signed receipt needs a signer');
  const full = kind === 'full';
  const sha256 = hashJson(input.request, primitives);
  const unsigned: Receipt = {
    v: 1,
    id: input.id,
    path: input.path,
    root: input.root,
    commit: input.commit,
    scope: input.scope,
    applied: outcome.applied,
    input: full ? { sha256, value: input.request } : { sha256 },
    now: outcome.now,
    staleness_ms: stalenessOf(outcome),
    reads: readsOf(outcome, full, primitives),
    decision: outcome.decision,
    reasons: outcome.reasons,
    engine: input.engine,
    language: languageVersion,
    instance: input.instance,
    signature: null,
  };
  if (kind === 'plain' || input.signer === undefined) return unsigned;
  const value = input.signer.sign(receiptBytes(unsigned, primitives));
  return { ...unsigned, signature: { key: input.signer.key, algorithm: 'Ed25519', value } };
}

/** The bytes that a receipt's signature covers: its RFC 8785 form with `signature` null. */
export function receiptBytes(receipt: Receipt, primitives: Primitives): Uint8Array {
  return primitives.utf8Encode(canonicalJson({ ...receipt, signature: null }));
}

/**
 * Whether two receipts are of the same decision on the same grounds: all members are equal but `id`, `commit`,
 * `instance` and `signature`, which differ between instances and days. A `full` receipt equals the plain one of the same decision.
 */
export function sameReceipt(a: Receipt, b: Receipt): boolean {
  return canonicalJson(essence(a)) === canonicalJson(essence(b));
}

/** What `sameReceipt` compares. */
export function essence(receipt: Receipt): JsonObject {
  const { id: _id, commit: _commit, instance: _instance, signature: _signature, ...rest } = receipt;
  const reads = receipt.reads.map((read) =>
    'sha256' in read ? { key: read.key, dots: read.dots, sha256: read.sha256 } : read,
  );
  return { ...rest, input: { sha256: receipt.input.sha256 }, reads } as unknown as JsonObject;
}

/** SHA-256, in hexadecimal, of a value's RFC 8785 form; of bytes, of the bytes themselves. */
export function hashJson(value: unknown, primitives: Primitives): string {
  const bytes = value instanceof Uint8Array ? value : primitives.utf8Encode(canonicalJson(value));
  return toHex(primitives.sha256(bytes));
}

/**
 * Hashes of fact values by identity. Facts are never written to, so a value held hot is hashed once however many decisions
 * read it; entries go with the values.
 */
const valueHashes = new WeakMap<object, string>();

function hashOfValue(value: unknown, primitives: Primitives): string {
  if (typeof value !== 'object' || value === null) return hashJson(value, primitives);
  let hash = valueHashes.get(value);
  if (hash === undefined) {
    hash = hashJson(value, primitives);
    valueHashes.set(value, hash);
  }
  return hash;
}

function readsOf(outcome: Outcome, full: boolean, primitives: Primitives): readonly FactRead[] {
  const byKey = new Map<string, FactRead>();
  for (const { namespace, key, found } of outcome.lookups) {
    const name = `${namespace}.${key}`;
    if (!byKey.has(name)) byKey.set(name, readOf(name, found, full, primitives));
  }
  return [...byKey.values()].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
}

function readOf(
  key: string,
  found: Exclude<FactLookup, { kind: 'cold' }>,
  full: boolean,
  primitives: Primitives,
): FactRead {
  if (found.kind === 'absent') return { key, absent: true };
  if (found.kind === 'error') return { key, error: found.message };
  const sha256 = hashOfValue(found.value, primitives);
  const dots = found.dots.length > 1 ? [...found.dots].sort() : found.dots;
  const read = { key, dots, sha256 };
  return full && !(found.value instanceof Uint8Array) ? { ...read, value: found.value as Json } : read;
}

function stalenessOf(outcome: Outcome): Receipt['staleness_ms'] {
  const staleness: Record<string, number | null> = {};
  for (const name of [...outcome.stalenessMs.keys()].sort()) staleness[name] = outcome.stalenessMs.get(name) ?? null;
  return staleness;
}
