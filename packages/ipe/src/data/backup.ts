import { IpeError, isIpeError } from '@ipe/core';
import {
  ByteWriter,
  type Cell,
  checkKey,
  decodeCell,
  encodeCell,
  type Head,
  headOf,
  type KeyState,
  liveDots,
  namespaceOf,
  strategyText,
} from '@ipe/core/replica';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import type { Engine } from './engine.ts';
import { type FactsSnapshot, snapshotOf } from './held-snapshots.ts';
import { HeldViews } from './held-views.ts';

const format = 1;
const pieceRows = 5_000;
const pieceBytes = 4 * 1024 * 1024;
/** How long the view of a backup is held for its next piece. */
const idleMs = 300_000;
const backupsMax = 4;

/** A backup under way: the rows as of one moment, and what they do not show of it. */
interface View extends FactsSnapshot {
  readonly header: string;
  readonly trailer: (entries: number) => string;
}

/**
 * `data-backup` and `data-restore` of the control plane: all facts with the ids of the writes they stem from, as lines
 * of JSON in pieces.
 *
 * A backup shows one moment, however long it takes; a piece can be asked for again. Restoring joins, as replication
 * does: it may be repeated or cut short, undoes nothing that is newer, and brings back nothing that was deleted here.
 */
export function backupMethods(engine: Engine): Handlers {
  const views = new HeldViews<View>({ what: 'backups', idleMs, most: backupsMax });

  return {
    'data-backup': async (params) => {
      const cursor = readParams(params, ['cursor']).optionalString('cursor', { maxBytes: 2048, empty: false });
      const [id, entries, after] =
        cursor === undefined ? [views.hold(() => viewOf(engine)), 0, undefined] : readCursor(cursor);
      const view = views.get(id);
      if (view === undefined)
        throw new IpeError('not_found', 'this backup is no longer held; begin again', { details: { field: 'cursor' } });
      const piece = await readPiece(engine, view, after);
      const count = entries + piece.rows.length;
      const lines = [...(after === undefined ? [view.header] : []), ...piece.rows];
      if (piece.last === undefined) return { lines: [...lines, view.trailer(count)].join('\n'), entries: count };
      return { lines: lines.join('\n'), entries: count, next: writeCursor(id, count, piece.last) };
    },

    'data-restore': async (params) => {
      const text = readParams(params, ['lines']).string('lines', { maxBytes: 4 * pieceBytes });
      return await restoreLines(engine, text);
    },
  };
}

/** In one tick: the rows, the cells that are not committed yet, and the heads that go with them. */
function viewOf(engine: Engine): View {
  const snapshot = snapshotOf(engine);
  const namespaces = Object.fromEntries(
    engine.namespaces().map(({ name, strategy, heads }) => [
      name,
      {
        strategy: strategyText(strategy),
        floor: engine.replica.floorOf(name),
        heads: Object.fromEntries([...heads].map(([{ id }, seq]) => [id, seq])),
      },
    ]),
  );
  const strategies = Object.fromEntries(Object.entries(namespaces).map(([name, { strategy }]) => [name, strategy]));
  return {
    ...snapshot,
    header: JSON.stringify({
      ipe_facts: format,
      instance: engine.replica.origin,
      taken_at: snapshot.nowMs / 1000,
      strategies,
    }),
    trailer: (entries) => JSON.stringify({ end: true, entries, namespaces }),
  };
}

async function readPiece(
  engine: Engine,
  view: View,
  after: string | undefined,
): Promise<{ readonly rows: readonly string[]; readonly last: string | undefined }> {
  const rows: string[] = [];
  let bytes = 0;
  const scratch = new ByteWriter();
  const range = { order: 'store' as const, ...(after !== undefined && { gt: Buffer.from(after) }) };
  for await (const [keyBytes, value] of view.rows.entries('live', range)) {
    const key = Buffer.from(keyBytes.buffer, keyBytes.byteOffset, keyBytes.byteLength).toString('utf8');
    const held = view.uncommitted.get(key);
    let row = value;
    if (held !== undefined) {
      // Not committed when the backup began: what it shows is the cell before, if there was one.
      if (held.state === undefined) row = empty;
      else row = encodeCell(held, scratch);
    } else decodeRow(engine, key, value);
    rows.push(row === empty ? '' : JSON.stringify({ key, row: Buffer.from(row).toString('base64') }));
    bytes += row.length;
    if (rows.length === pieceRows || bytes >= pieceBytes)
      return { rows: rows.filter((line) => line !== ''), last: key };
  }
  return { rows: rows.filter((line) => line !== ''), last: undefined };
}

const empty = new Uint8Array();

/** A backup with a damaged row in it would be found out too late. @throws IpeError `corrupt` naming the key */
function decodeRow(engine: Engine, key: string, row: Uint8Array): Cell {
  try {
    return decodeCell(row, engine.replica.sources, engine.replica.strategyOf(namespaceOf(key)));
  } catch (error) {
    throw new IpeError('corrupt', `the row of \`${key}\` does not decode`, { details: { key }, cause: error });
  }
}

interface Line {
  readonly ipe_facts?: unknown;
  readonly strategies?: Readonly<Record<string, string>>;
  readonly end?: unknown;
  readonly entries?: number;
  readonly namespaces?: Readonly<
    Record<string, { readonly floor?: unknown; readonly heads?: Readonly<Record<string, unknown>> }>
  >;
  readonly key?: unknown;
  readonly row?: unknown;
}

async function restoreLines(engine: Engine, text: string) {
  const byNamespace = new Map<string, { readonly key: string; readonly state: KeyState }[]>();
  let entries = 0;
  let skipped = 0;
  let end: Line | undefined;
  for (const [i, raw] of text.split('\n').entries()) {
    if (raw.trim() === '') continue;
    const line = readLine(raw, i + 1);
    if (line.ipe_facts !== undefined) checkHeader(engine, line);
    else if (line.end === true) end = line;
    else {
      const { key, state } = readRow(engine, line, i + 1);
      entries++;
      const namespace = namespaceOf(key);
      if (await isKnown(engine, key, namespace, state)) skipped++;
      else {
        const list = byNamespace.get(namespace);
        if (list === undefined) byNamespace.set(namespace, [{ key, state }]);
        else list.push({ key, state });
      }
    }
  }
  for (const [namespace, states] of byNamespace) await engine.joinStates(namespace, states);
  if (end !== undefined) await advance(engine, end);
  return { entries, skipped, done: end !== undefined };
}

function readLine(raw: string, number: number): Line {
  try {
    const line: unknown = JSON.parse(raw);
    if (typeof line === 'object' && line !== null && !Array.isArray(line)) return line;
  } catch {
    // Told below, as everything that is no line of a backup.
  }
  throw refuse(number, 'is not a line of a backup');
}

function checkHeader(engine: Engine, line: Line): void {
  if (line.ipe_facts !== format)
    throw new IpeError('invalid_params', `this backup has format ${String(line.ipe_facts)}; this node reads ${format}`);
  for (const [namespace, stored] of Object.entries(line.strategies ?? {})) {
    const configured = strategyText(engine.replica.strategyOf(namespace));
    if (String(stored).split('/')[0] !== configured.split('/')[0])
      throw new IpeError(
        'invalid_params',
        `\`${namespace}\` is \`${stored}\` in the backup and \`${configured}\` here; set its \`conflict_strategy\` first`,
        { details: { namespace, stored, configured } },
      );
  }
}

function readRow(engine: Engine, line: Line, number: number): { readonly key: string; readonly state: KeyState } {
  if (typeof line.key !== 'string' || typeof line.row !== 'string') throw refuse(number, 'has no `key` and `row`');
  checkKey(line.key, `lines[${number}].key`);
  try {
    const { state } = decodeRow(engine, line.key, Buffer.from(line.row, 'base64'));
    return { key: line.key, state: state! };
  } catch (error) {
    if (isIpeError(error)) throw refuse(number, `holds a row of \`${line.key}\` that does not decode`);
    throw error;
  }
}

/**
 * Whether this instance had everything a state consists of: what became of it since, a later write or a deletion that is
 * purged by now, must not be undone.
 */
async function isKnown(engine: Engine, key: string, namespace: string, state: KeyState): Promise<boolean> {
  const heads = engine.replica.headsOf(namespace);
  if (heads.size === 0 || !liveDots(state).every(({ source, seq }) => headOf(heads, source) >= seq)) return false;
  try {
    await engine.get(key);
    return true;
  } catch {
    // Our row is damaged: the backup's takes its place.
    return false;
  }
}

async function advance(engine: Engine, end: Line): Promise<void> {
  for (const [namespace, { floor, heads }] of Object.entries(end.namespaces ?? {})) {
    const list: Head[] = [];
    for (const [id, seq] of Object.entries(heads ?? {})) {
      const source = engine.replica.sources.parse(id);
      if (source === undefined || !Number.isSafeInteger(seq) || (seq as number) < 0)
        throw new IpeError('invalid_params', `the end of the backup names \`${id}\`, which is not a source`);
      list.push({ source, seq: seq as number });
    }
    await engine.advance(namespace, list, Number.isSafeInteger(floor) ? (floor as number) : 0);
  }
}

function refuse(number: number, why: string): IpeError {
  return new IpeError('invalid_params', `line ${number} ${why}`, { details: { field: 'lines', line: number } });
}

function writeCursor(id: string, entries: number, key: string): string {
  return `${id}.${entries}.${Buffer.from(key).toString('base64url')}`;
}

function readCursor(cursor: string): [id: string, entries: number, after: string] {
  const match = /^([\w-]+)\.(\d{1,15})\.([\w-]+)$/.exec(cursor);
  if (match === null)
    throw new IpeError('invalid_params', '`cursor` is not one that a backup gave', { details: { field: 'cursor' } });
  return [match[1]!, Number(match[2]), Buffer.from(match[3]!, 'base64url').toString('utf8')];
}
