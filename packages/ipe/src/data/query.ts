import { IpeError } from '@ipe/core';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { requireAccess } from '../security/access.ts';
import type { Damage } from './damage.ts';
import type { Engine } from './engine.ts';
import { type Entry, entryOf } from './entry.ts';
import { readFilter, type ValueFilter } from './filter.ts';
import type { Freshness } from './freshness.ts';
import type { FactsSnapshot, HeldSnapshots } from './held-snapshots.ts';
import { type KeyPattern, readPattern } from './pattern.ts';
import { requireHeld } from './reads.ts';
import { scan } from './scan.ts';

/** Entries of one page. */
export const queryLimitMax = 10_000;
/** Keys that one page looks at, and bytes it may hold: beyond either the page ends early, with a cursor. */
const scannedMax = 50_000;
const pageBytesMax = 8 * 1024 * 1024;
/** Keys that a full page looks at further on, to find out whether it is the last. */
const lookAheadMax = 1_000;
/** Damaged rows that a page names. */
const damagedNamedMax = 100;

/** The method `query`. */
export function queryMethods(engine: Engine, freshness: Freshness, snapshots: HeldSnapshots): Handlers {
  return {
    query: async (params, { caller, signal }) => {
      const fields = readParams(params, ['pattern', 'filter', 'limit', 'cursor', 'fresh_as_of', 'snapshot']);
      const pattern = readPattern(fields.string('pattern'));
      requireAccess(caller, pattern.namespace, 'read');
      requireHeld(engine, pattern.namespace);
      const filter = readFilter(fields.raw('filter'));
      const limit = fields.integerOr('limit', 100, { min: 1, max: queryLimitMax });
      const from = readCursor(fields.optionalString('cursor'), pattern);
      const token = fields.optionalString('fresh_as_of');
      if (token !== undefined) await freshness.reached(token, signal);
      const name = fields.optionalString('snapshot');
      const snapshot = name === undefined ? undefined : snapshots.get(name);
      return await page({ engine, pattern, filter, limit, from, snapshot });
    },
  };
}

interface Page {
  readonly entries: readonly Entry[];
  /** Where the next page starts; absent after the last. */
  readonly cursor?: string;
  /** Whether these entries, with those of the pages before, are all there are. */
  readonly complete: boolean;
  /** Matching rows of this page that cannot be read: neither among the entries nor absent. */
  readonly damaged?: readonly { readonly key?: string; readonly message: string }[];
}

interface PageRequest {
  readonly engine: Engine;
  readonly pattern: KeyPattern;
  readonly filter: ValueFilter | undefined;
  readonly limit: number;
  readonly from: Cursor;
  readonly snapshot: FactsSnapshot | undefined;
}

async function page({ engine, pattern, filter, limit, from, snapshot }: PageRequest): Promise<Page> {
  const { after, isDamaged } = from;
  const nowMs = snapshot?.nowMs ?? engine.readMs();
  const entries: Entry[] = [];
  let last: string | undefined;
  let scanned = 0;
  let scannedTo = scannedMax;
  let bytes = 0;
  const damaged: { readonly key?: string; readonly message: string }[] = [];
  const onDamaged = ({ key, failure: { message } }: Damage) =>
    void (damaged.length < damagedNamedMax && damaged.push({ ...(key !== undefined && { key }), message }));
  const told = () => (damaged.length === 0 ? {} : { damaged });
  const more = (): Page => {
    const cursor = writeCursor({ after: last!, isDamaged: isDamaged || damaged.length > 0 });
    return { entries, cursor, complete: false, ...told() };
  };
  for await (const { key, cell } of scan(engine, pattern, { after, onDamaged, snapshot })) {
    if (scanned >= scannedTo || bytes >= pageBytesMax) return more();
    scanned++;
    const entry = entryOf(key, cell, nowMs);
    if (entry !== null && (filter === undefined || passes(entry, filter))) {
      if (entries.length === limit) return more();
      entries.push(entry);
      bytes += key.length + cell.sizeBytes / 3;
      // A full page goes on to look, for a while: if nothing more matches, it is the last.
      if (entries.length === limit) scannedTo = Math.min(scannedTo, scanned + lookAheadMax);
    }
    last = key;
  }
  return { entries, complete: !isDamaged && damaged.length === 0, ...told() };
}

function passes(entry: Entry, filter: ValueFilter): boolean {
  if (entry.siblings !== undefined)
    return entry.siblings.some((sibling) => 'value' in sibling && filter(sibling.value, entry.key));
  return filter(entry.value_base64 === undefined ? entry.value : Buffer.from(entry.value_base64, 'base64'), entry.key);
}

/** Where a page starts, and what the pages before have to say to the last one. */
interface Cursor {
  readonly after: string | undefined;
  /** Something was left out because it cannot be read. */
  readonly isDamaged: boolean;
}

/** In front of the key in a cursor: keys hold no control characters. */
const damagedSign = '\u0001';

function writeCursor({ after, isDamaged }: Cursor): string {
  return Buffer.from((isDamaged ? damagedSign : '') + after).toString('base64url');
}

function readCursor(text: string | undefined, pattern: KeyPattern): Cursor {
  if (text === undefined) return { after: undefined, isDamaged: false };
  const decoded = Buffer.from(text, 'base64url').toString('utf8');
  const isDamaged = decoded.startsWith(damagedSign);
  const cursor = { after: isDamaged ? decoded.slice(damagedSign.length) : decoded, isDamaged };
  if (cursor.after.startsWith(pattern.prefix) && writeCursor(cursor) === text) return cursor;
  throw new IpeError('invalid_params', '`cursor` is not one that this query gave', { details: { field: 'cursor' } });
}
