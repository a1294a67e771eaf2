import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import { type DataPlane, isIpeClientError } from '@ipe/client';
import type { PutParams } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import { parseJson } from './values.ts';

const batchSize = 1000;
const lineBreak = 0x0a;

/** How far an import has come: everything up to here was acknowledged. */
export interface ImportPlace {
  /** The instance that acknowledged it. */
  readonly instance: string;
  readonly bytes: number;
  readonly lines: number;
  /** Of the bytes so far, to see that it is the same file. */
  readonly sha256: string;
  readonly written: number;
  readonly expired: number;
}

export function startOfImport(instance: string): ImportPlace {
  return { instance, bytes: 0, lines: 0, sha256: createHash('sha256').digest('hex'), written: 0, expired: 0 };
}

/** What an import reads, and what it has read of that. */
export interface ImportSource {
  /** How it is called in messages. */
  readonly name: string;
  readonly input: AsyncIterable<Buffer>;
  /** Over everything before `input`; taken along from here. */
  readonly hash: Hash;
}

/**
 * The rest of a file behind a place.
 * @returns undefined where what is before it is no longer what was imported
 */
export async function sourceBehind(path: string, name: string, { bytes, sha256 }: ImportPlace) {
  const hash = createHash('sha256');
  if (bytes > 0) for await (const chunk of createReadStream(path, { end: bytes - 1 })) hash.update(chunk as Buffer);
  if (hash.copy().digest('hex') !== sha256) return undefined;
  return { name, input: createReadStream(path, { start: bytes }) as AsyncIterable<Buffer>, hash };
}

/**
 * Writes what a source holds in batches, one after the other: the place behind each, once it is acknowledged.
 * @param isRepeat whether the first batch may have been written already, its answer lost
 * @throws IpeError `invalid_params` naming the line that is no fact, or the key that was refused
 * @throws IpeClientError `aborted` when the signal fires: the batch under way may have been written
 */
export async function* importBatches(
  data: DataPlane,
  { name, input, hash }: ImportSource,
  from: ImportPlace,
  options: { readonly isRepeat: boolean; readonly now: () => number; readonly signal?: AbortSignal },
): AsyncGenerator<ImportPlace, void, void> {
  const { isRepeat, now, signal } = options;
  const call = signal === undefined ? {} : { signal };
  let place = from;
  let { bytes, lines, expired } = from;
  let batch: PutParams[] = [];
  const send = async (): Promise<ImportPlace> => {
    const isFirst = place === from;
    const puts = isFirst && isRepeat && batch.length > 0 ? await withoutWritten(data, batch) : batch;
    if (puts.length > 0) checkResults(await data.putAll(puts, call), place.written);
    const written = place.written + batch.length;
    batch = [];
    place = { ...place, bytes, lines, expired, written, sha256: hash.copy().digest('hex') };
    return place;
  };
  for await (const line of linesOf(input)) {
    hash.update(line);
    bytes += line.length;
    lines++;
    const text = line.toString('utf8');
    if (text.trim() === '') continue;
    const put = readLine(text, `${name}:${lines}`, now() / 1000);
    if (put === undefined) expired++;
    else if (batch.push(put) === batchSize) yield await send();
  }
  yield await send();
}

/** Lines as they are, their breaks included. */
async function* linesOf(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  let rest: Buffer[] = [];
  for await (const chunk of input) {
    let at = 0;
    for (let end = chunk.indexOf(lineBreak); end >= 0; end = chunk.indexOf(lineBreak, at)) {
      const part = chunk.subarray(at, end + 1);
      yield rest.length === 0 ? part : Buffer.concat([...rest, part]);
      rest = [];
      at = end + 1;
    }
    if (at < chunk.length) rest.push(chunk.subarray(at));
  }
  if (rest.length > 0) yield Buffer.concat(rest);
}

/** Leaves out the facts that stand as they are to be written: repeating a batch makes no versions and no events. */
async function withoutWritten(data: DataPlane, batch: readonly PutParams[]): Promise<readonly PutParams[]> {
  const last = new Map(batch.map((put) => [put.key, put]));
  try {
    const entries = await data.getAll([...last.keys()]);
    for (const entry of entries) {
      if (entry === null || entry.expires_at !== undefined) continue;
      const { value, value_base64, ttl } = last.get(entry.key)!;
      const isSame = isDeepStrictEqual([entry.value, entry.value_base64], [value, value_base64]);
      if (isSame && ttl === undefined) last.delete(entry.key);
    }
  } catch (error) {
    // Who may write and not read writes it all again.
    if (!isIpeClientError(error) || error.reason !== 'forbidden') throw error;
  }
  return batch.filter(({ key }) => last.has(key));
}

function checkResults(results: Awaited<ReturnType<DataPlane['putAll']>>, writtenBefore: number): void {
  const refused = results.findIndex((result) => 'error' in result);
  const result = results[refused];
  if (result === undefined || !('error' in result)) return;
  throw new IpeError(
    'invalid_params',
    `\`${result.key}\`: ${result.error.message}; ${writtenBefore + refused} facts were written before it`,
    { state: 'applied' },
  );
}

function readLine(text: string, place: string, nowSeconds: number): PutParams | undefined {
  const row = parseJson(text, place) as { key?: unknown; expires_at?: unknown } & Record<string, never>;
  if (typeof row?.key !== 'string') throw new IpeError('invalid_params', `${place}: expected an object with \`key\``);
  if (row['siblings'] !== undefined)
    throw new IpeError(
      'invalid_params',
      `${place}: \`${row.key}\` has values that were written side by side; put the one that is meant as \`value\``,
    );
  if (row.expires_at === undefined) return { ...contentOf(row), key: row.key };
  const ttl = Number(row.expires_at) - nowSeconds;
  return ttl > 0 ? { ...contentOf(row), key: row.key, ttl } : undefined;
}

function contentOf(row: Record<string, never>): Pick<PutParams, 'value' | 'value_base64'> {
  return row['value_base64'] === undefined ? { value: row['value'] ?? null } : { value_base64: row['value_base64'] };
}
