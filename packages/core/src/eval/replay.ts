import { canonicalJson } from '../bytes/index.ts';
import type { Json } from '../policy/json.ts';
import type { FactLookup, Facts } from './facts.ts';
import { essence, type Receipt } from './receipt.ts';

/** One member in which two receipts differ: a dotted path, and both values (absent: undefined). */
export interface ReceiptDifference {
  readonly field: string;
  readonly before: Json | undefined;
  readonly after: Json | undefined;
}

/**
 * What differs between a receipt and the one a replay gave, leaving out what may (see `sameReceipt`). Reads are compared by
 * key, so that one fact more does not shift the others. Empty: the decision was reproduced.
 */
export function compareReceipts(before: Receipt, after: Receipt): readonly ReceiptDifference[] {
  const differences: ReceiptDifference[] = [];
  walk('', keyed(before), keyed(after), differences);
  return differences;
}

function keyed(receipt: Receipt): Json {
  const { reads, ...rest } = essence(receipt) as { reads: readonly { key: string }[] } & Record<string, Json>;
  return { ...rest, reads: Object.fromEntries(reads.map(({ key, ...read }) => [key, read as Json])) };
}

function walk(field: string, before: Json | undefined, after: Json | undefined, found: ReceiptDifference[]): void {
  if (isObject(before) && isObject(after)) {
    for (const name of [...new Set([...Object.keys(before), ...Object.keys(after)])].sort())
      walk(field === '' ? name : `${field}.${name}`, before[name], after[name], found);
  } else if (text(before) !== text(after)) found.push({ field, before, after });
}

function isObject(value: Json | undefined): value is { readonly [name: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function text(value: Json | undefined): string {
  return value === undefined ? '' : canonicalJson(value);
}

/**
 * The facts that a full receipt embeds, for deciding again without the data plane.
 *
 * @returns undefined when the receipt is not full: a value that was read is not in it
 */
export function factsOfReceipt(receipt: Receipt): Facts | undefined {
  const found = new Map<string, FactLookup>();
  for (const read of receipt.reads) {
    if ('absent' in read) found.set(read.key, { kind: 'absent' });
    else if ('error' in read) found.set(read.key, { kind: 'error', message: read.error });
    else if (read.value === undefined) return undefined;
    else found.set(read.key, { kind: 'value', value: read.value, dots: read.dots });
  }
  return {
    // A policy of another root may look at more; what the decision did not see cannot be guessed.
    lookup: (namespace, key) =>
      found.get(`${namespace}.${key}`) ?? { kind: 'error', message: `\`${namespace}.${key}\` is not in the receipt` },
    load: async () => {},
    stalenessMs: (namespace) => receipt.staleness_ms[namespace] ?? undefined,
    release() {},
  };
}
