import { IpeError } from '@ipe/core';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { requireAccess } from '../security/access.ts';
import type { Engine } from './engine.ts';
import { type Entry, entryOf } from './entry.ts';
import { readFilter, type ValueFilter } from './filter.ts';
import type { Freshness } from './freshness.ts';
import { type KeyPattern, readPattern } from './pattern.ts';
import { requireHeld } from './reads.ts';
import { scan } from './scan.ts';

/** Entries of one page. */
export const queryLimitMax = 10_000;
/** Keys that one page looks at, and bytes it may hold: beyond either the page ends early, with a cursor. */
const scannedMax = 50_000;
const pageBytesMax = 8 * 1024 * 1024;

/** The method `query`. */
export function queryMethods(engine: Engine, freshness: Freshness): Handlers {
  return {
    query: async (params, { caller, signal }) => {
      const fields = readParams(params, ['pattern', 'filter', 'limit', 'cursor', 'fresh_as_of']);
      const pattern = readPattern(fields.string('pattern'));
      requireAccess(caller, pattern.namespace, 'read');
      requireHeld(engine, pattern.namespace);
      const filter = readFilter(fields.raw('filter'));
      const limit = fields.integerOr('limit', 100, { min: 1, max: queryLimitMax });
      const after = readCursor(fields.optionalString('cursor'), pattern);
      const token = fields.optionalString('fresh_as_of');
      if (token !== undefined) await freshness.reached(token, signal);
      return await page(engine, pattern, filter, limit, after);
    },
  };
}

interface Page {
  readonly entries: readonly Entry[];
  /** Where the next page starts; absent after the last. */
  readonly cursor?: string;
  /** Whether these entries, with those of the pages before, are all there are. */
  readonly complete: boolean;
}

async function page(
  engine: Engine,
  pattern: KeyPattern,
  filter: ValueFilter | undefined,
  limit: number,
  after: string | undefined,
): Promise<Page> {
  const nowMs = engine.readMs();
  const entries: Entry[] = [];
  let last: string | undefined;
  let scanned = 0;
  let bytes = 0;
  for await (const { key, cell } of scan(engine, pattern, after)) {
    // One more than fits was found: there is a next page, and it starts behind the last entry given.
    if (entries.length === limit || scanned >= scannedMax || bytes >= pageBytesMax)
      return { entries, cursor: writeCursor(last!), complete: false };
    scanned++;
    last = key;
    const entry = entryOf(key, cell, nowMs);
    if (entry === null || (filter !== undefined && !passes(entry, filter))) continue;
    entries.push(entry);
    bytes += key.length + cell.sizeBytes / 3;
  }
  return { entries, complete: true };
}

function passes(entry: Entry, filter: ValueFilter): boolean {
  if (entry.siblings !== undefined)
    return entry.siblings.some((sibling) => 'value' in sibling && filter(sibling.value, entry.key));
  return filter(entry.value_base64 === undefined ? entry.value : Buffer.from(entry.value_base64, 'base64'), entry.key);
}

function writeCursor(key: string): string {
  return Buffer.from(key).toString('base64url');
}

function readCursor(cursor: string | undefined, pattern: KeyPattern): string | undefined {
  if (cursor === undefined) return undefined;
  const key = Buffer.from(cursor, 'base64url').toString('utf8');
  if (key.startsWith(pattern.prefix) && writeCursor(key) === cursor) return key;
  throw new IpeError('invalid_params', '`cursor` is not one that this query gave', { details: { field: 'cursor' } });
}
