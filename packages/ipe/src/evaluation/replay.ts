import { IpeError } from '@ipe/core';
import type { Primitives } from '@ipe/core/bytes';
import {
  compareReceipts,
  decide,
  type FactLookup,
  type FactRead,
  type Facts,
  factsOfReceipt,
  hashJson,
  makeReceipt,
  type Receipt,
  receiptBytes,
} from '@ipe/core/eval';
import { isJsonObject, type JsonObject, readRequest } from '@ipe/core/policy';
import type { PolicyStore } from '@ipe/core/tree';
import type { Handler } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { noPolicy } from '../control/lookup.ts';
import type { PolicyReader } from './policy-reader.ts';
import { released } from './released.ts';
import type { EvaluationConfig, FactsSource } from './types.ts';

/** Whether a signature over `bytes` is that of the key named; undefined: the key is not known here. */
export type ReceiptVerifier = (key: string, bytes: Uint8Array, signature: string) => boolean | undefined;

export interface ReplayOptions {
  readonly policies: Pick<PolicyStore, 'at'>;
  readonly facts: FactsSource;
  readonly reader: PolicyReader;
  readonly primitives: Primitives;
  readonly config: EvaluationConfig;
  readonly verifier?: ReceiptVerifier;
}

/**
 * `replay`: decides a receipt's request again, at its root or another, and tells what differs.
 *
 * A full receipt carries its facts. Any other names the versions that it read, and those are used as long as they are
 * held; where one is not, the fact of now stands in, and the read is among the differences if it has changed.
 */
export function replayMethod(options: ReplayOptions): Handler {
  return async (params) => {
    const fields = readParams(params, ['receipt', 'root']);
    const receipt = readReceipt(fields.raw('receipt'), options.primitives);
    const root = fields.optionalString('root', { maxBytes: 256, empty: false });
    const { view, origin } = await factsFor(receipt, options.facts);
    const again = await released(view, (facts) => decideAgain(options, receipt, root, facts));
    const differences = compareReceipts(
      root === undefined ? receipt : { ...receipt, root: again.root, scope: again.scope },
      again,
    );
    return {
      decision: again.decision,
      reasons: again.reasons,
      same: differences.length === 0,
      differences,
      facts: origin,
      signature: signatureOf(options, receipt),
      receipt: again,
    };
  };
}

async function decideAgain(
  { policies, reader, primitives, config }: ReplayOptions,
  receipt: Receipt,
  root: string | undefined,
  facts: Facts,
): Promise<Receipt> {
  const request = receipt.input.value!;
  const snapshot = await policies.at(root ?? receipt.root);
  const scope = await reader.resolve(snapshot, receipt.path, request);
  if (scope === undefined) throw await noPolicy(snapshot, receipt.path);
  const outcome = await decide({
    policies: scope.policies,
    request,
    facts,
    now: receipt.now,
    policyStepsMax: config.maxCost,
  });
  const { id, path, engine, instance } = receipt;
  const { kind, id: tree } = scope;
  const at = { root: snapshot.root, commit: snapshot.commit, scope: { kind, id: tree } };
  return makeReceipt({ kind: 'plain', id, path, ...at, request, outcome, engine, instance }, primitives);
}

/**
 * The facts to decide again with: those in the receipt; or the versions that it names, where all of them are still held;
 * or, for what is not, the facts of now.
 */
async function factsFor(
  receipt: Receipt,
  source: FactsSource,
): Promise<{ view: Facts; origin: 'receipt' | 'versions' | 'held' }> {
  const full = factsOfReceipt(receipt);
  if (full !== undefined) return { view: full, origin: 'receipt' };
  const then = new Map<string, FactLookup>();
  let origin: 'versions' | 'held' = 'versions';
  for (const read of receipt.reads) {
    const found = await lookupThen(read, source);
    if (found === undefined) origin = 'held';
    else then.set(read.key, found);
  }
  return { view: asOf(then, source.open(receipt.now * 1000), receipt), origin };
}

/** What a read found then; undefined where that version is not held any more. */
async function lookupThen(read: FactRead, source: FactsSource): Promise<FactLookup | undefined> {
  if ('absent' in read) return { kind: 'absent' };
  if ('error' in read) return { kind: 'error', message: read.error };
  const dot = read.key.indexOf('.');
  const versions = await source.versions(read.key.slice(0, dot), read.key.slice(dot + 1));
  const wanted = read.dots.join();
  const version = versions.find(({ dots }) => [...dots].sort().join() === wanted);
  return version === undefined ? undefined : { kind: 'value', value: version.value, dots: read.dots };
}

/** Facts as of then where that is known, with the staleness of then: that is input, not something to look up again. */
function asOf(then: ReadonlyMap<string, FactLookup>, facts: Facts, receipt: Receipt): Facts {
  return {
    lookup: (namespace, key) => then.get(`${namespace}.${key}`) ?? facts.lookup(namespace, key),
    load: (keys) => facts.load(keys),
    stalenessMs: (namespace) =>
      Object.hasOwn(receipt.staleness_ms, namespace)
        ? (receipt.staleness_ms[namespace] ?? undefined)
        : facts.stalenessMs(namespace),
    release: () => facts.release(),
  };
}

function signatureOf(
  { verifier, primitives }: ReplayOptions,
  receipt: Receipt,
): 'none' | 'valid' | 'invalid' | 'unknown_key' {
  const { signature } = receipt;
  if (signature === null) return 'none';
  const valid = verifier?.(signature.key, receiptBytes(receipt, primitives), signature.value);
  if (valid === undefined) return 'unknown_key';
  return valid ? 'valid' : 'invalid';
}

const hex = /^[0-9a-f]{64}$/;

/** The receipt given, checked as far as deciding again relies on it. */
function readReceipt(value: unknown, primitives: Primitives): Receipt {
  if (!isJsonObject(value)) throw refuse('receipt', 'must be a receipt as `evaluate` gave it');
  if (value['v'] !== 1) throw refuse('receipt.v', 'must be 1, the version of receipts that this engine reads');
  const { path, root, now, input, reads, staleness_ms: staleness } = value;
  if (typeof path !== 'string') throw refuse('receipt.path', 'must be a string');
  if (typeof root !== 'string' || !hex.test(root)) throw refuse('receipt.root', 'must be a root id');
  if (typeof now !== 'number') throw refuse('receipt.now', 'must be Unix seconds');
  if (!isJsonObject(staleness)) throw refuse('receipt.staleness_ms', 'must be an object');
  if (!Array.isArray(reads) || !reads.every(isRead))
    throw refuse('receipt.reads', 'must be the reads as `evaluate` gave them');
  if (!isJsonObject(input) || input['value'] === undefined)
    throw refuse(
      'receipt.input.value',
      'is missing: only a `full` receipt carries its request; put the request there to replay another',
    );
  const read = readRequest(input['value']);
  if (!read.ok) throw refuse('receipt.input.value', `is no request: ${read.problem.message}`);
  if (hashJson(read.request, primitives) !== input['sha256'])
    throw refuse('receipt.input', 'does not belong to this receipt: its SHA-256 is another');
  const changed = reads.find(
    (each) => each['value'] !== undefined && hashJson(each['value'], primitives) !== each['sha256'],
  );
  if (changed !== undefined)
    throw refuse('receipt.reads', `do not belong to this receipt: \`${String(changed['key'])}\` has another SHA-256`);
  return { signature: null, ...value, input: { sha256: input['sha256'], value: read.request } } as unknown as Receipt;
}

function isRead(value: unknown): value is JsonObject {
  if (!isJsonObject(value) || typeof value['key'] !== 'string' || !value['key'].includes('.')) return false;
  if (value['absent'] === true || typeof value['error'] === 'string') return true;
  const { dots, sha256 } = value;
  return (
    typeof sha256 === 'string' &&
    hex.test(sha256) &&
    Array.isArray(dots) &&
    dots.every((dot) => typeof dot === 'string')
  );
}

function refuse(field: string, message: string): IpeError {
  return new IpeError('invalid_params', `\`${field}\` ${message}`, { details: { field } });
}
