import { rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Accepted,
  acceptedUpTo,
  decodeRecord,
  isFolded,
  logKey,
  type OfferVerdict,
  type Operation,
  type Source,
} from '@ipe/core/replica';
import { readIfPresent, writePrivate } from '../cluster/identity.ts';
import { readMembers } from '../cluster/membership.ts';
import type { Engine } from '../data/index.ts';
import { openFactEngine } from './fact-engine.ts';
import type { PartsContext } from './start.ts';

/** What a returning instance brings along, kept in a file until all of it is offered again. */
interface Brought {
  /** By namespace and source: what counts of what it wrote before. */
  readonly closed: Accepted;
  /** Records in base64, in order of namespace, source and number. */
  readonly records: readonly string[];
  /** Records before them, which count: the last of each source that added to a counter that `records` add to. */
  readonly counted: readonly string[];
  /** Records that belong to them and that the old log has let go of. */
  readonly missing: number;
}

const fileName = 'return.json';
const movedSuffix = '.evicted';

/**
 * Prepares the return of an instance that was evicted while it was away (design 0013): what it alone had written is set
 * aside, and its facts, which may hold what the others have deleted since, make room for theirs. Every step can be
 * repeated after a crash.
 * @returns what is closed of its sources; undefined where there is no return to prepare
 */
export async function prepareReturn(context: PartsContext): Promise<Accepted | undefined> {
  const { layout, identity, log } = context;
  const own = (await readMembers(layout.keys)).find(({ body }) => body.origin === identity.origin)?.body;
  if (own?.state !== 'evicted') return undefined;
  if (own.evictedBy !== 'lease' && context.join === undefined) {
    log.error('this instance was evicted by an operator; let it return with `ipe serve --join-token`');
    return undefined;
  }
  const path = join(layout.root, fileName);
  let brought = await readBrought(path);
  if (brought === undefined) {
    brought = await setAside(context, own.lastAccepted ?? {});
    await writePrivate(path, JSON.stringify(brought));
  }
  // In this order: a start in between finds the store gone, never a mark or a memory of one that is.
  await rm(join(layout.keys, 'data.mark'), { force: true });
  await rm(join(layout.root, 'replication.json'), { force: true });
  if (!(await exists(layout.data + movedSuffix)) && (await exists(layout.data)))
    await rename(layout.data, layout.data + movedSuffix);
  log.warn({ records: brought.records.length }, 'this instance was evicted while it was away, and returns');
  return brought.closed;
}

/** Reads from the old store what this instance wrote beyond what the others accept. */
async function setAside(context: PartsContext, accepted: Accepted): Promise<Brought> {
  const { config, layout, identity, log } = context;
  const closed: Record<string, Record<string, number>> = {};
  const records: string[] = [];
  const counted: string[] = [];
  let missing = 0;
  const options = { config, layout, origin: identity.origin, holder: identity.id, log, isClustered: true };
  const { engine } = await openFactEngine(options);
  try {
    for (const { name, heads } of engine.namespaces()) {
      for (const [source, head] of [...heads].sort(([a], [b]) => a.epoch - b.epoch)) {
        if (source.origin !== identity.origin || isFolded(head)) continue;
        const last = acceptedUpTo({ accepted, isClosed: true }, name, source);
        (closed[name] ??= {})[source.id] = last;
        const found = await readRecords(engine, name, source, last, head);
        records.push(...found);
        const totals = await readTotals(engine, found, last);
        counted.push(...totals.records);
        if (totals.unknown.length > 0)
          log.error(
            { namespace: name, source: source.id, counters: totals.unknown },
            'the log no longer tells how much of these counters counts already: what is parked of them shows all that was added since the start',
          );
        missing += head - last - found.length;
        if (found.length < head - last)
          log.error(
            { namespace: name, source: source.id, missing: head - last - found.length },
            'records that nobody else has are no longer in the log: what they wrote is in the old store alone',
          );
      }
    }
  } finally {
    await engine.close();
  }
  return { closed, records, counted, missing };
}

async function readRecords(
  engine: Engine,
  namespace: string,
  source: Source,
  after: number,
  upTo: number,
): Promise<string[]> {
  const records: string[] = [];
  const range = { gte: logKey(namespace, source, after + 1), lte: logKey(namespace, source, upTo) };
  if (upTo > after)
    for await (const [, row] of engine.kv.entries('log', range)) records.push(Buffer.from(row).toString('base64'));
  return records;
}

/**
 * The records up to `last` that tell what the source of `records` had counted before them.
 * @param records of one source, in base64
 * @returns with `unknown`, the counters of which the log no longer tells it
 */
async function readTotals(
  engine: Engine,
  records: readonly string[],
  last: number,
): Promise<{ records: string[]; unknown: string[] }> {
  const { sources } = engine.replica;
  const decoded = records.map((text) => decodeRecord(Buffer.from(text, 'base64'), sources));
  const wanted = new Set(decoded.flatMap(({ operations }) => operations.filter(isAdd).map(({ key }) => key)));
  const found: string[] = [];
  let seq = last;
  for (; wanted.size > 0 && seq > 0; seq--) {
    const row = await engine.kv.get('log', logKey(decoded[0]!.namespace, decoded[0]!.source, seq));
    if (row === undefined) break;
    const keys = decodeRecord(row, sources)
      .operations.filter(isAdd)
      .map(({ key }) => key);
    if (keys.filter((key) => wanted.delete(key)).length > 0) found.push(Buffer.from(row).toString('base64'));
  }
  return { records: found.reverse(), unknown: seq > 0 ? [...wanted] : [] };
}

const isAdd = ({ op }: Operation) => op === 'add';

export interface OfferOptions {
  readonly root: string;
  readonly dataFolder: string;
  readonly engine: Engine;
  readonly replication: { readonly isSettled: boolean; purgedMs(namespace: string): number };
  readonly log: Pick<PartsContext['log'], 'info' | 'warn' | 'error'>;
  /** Time for peers to tell what they have purged, once all their facts are here. Default: 3000. */
  readonly settledForMs?: number;
  readonly now: () => number;
}

const lookMs = 200;

/**
 * Offers again what a returned instance alone had written, once it holds what the others do; what may concern something
 * that was deleted meanwhile is parked under `_sys.parked`. Forgets the old store afterwards; one of which the log
 * did not tell everything is kept, under another name.
 * @returns how to stop
 */
export function offerAgain(options: OfferOptions): () => void {
  const closing = new AbortController();
  run(options, closing.signal).catch((error) => {
    // What is not done is done after the next start.
    if (!closing.signal.aborted)
      options.log.error({ err: error }, 'what this instance alone had written is not offered yet');
  });
  return () => closing.abort();
}

async function run(options: OfferOptions, signal: AbortSignal): Promise<void> {
  const { root, dataFolder, engine, replication, log, settledForMs = 3_000, now } = options;
  const path = join(root, fileName);
  const brought = await readBrought(path);
  if (brought === undefined) return;
  for (let settledMs = 0; settledMs < settledForMs; settledMs += replication.isSettled ? lookMs : 0) {
    if (signal.aborted) return;
    await new Promise((resolve) => setTimeout(resolve, lookMs).unref());
  }
  const { sources } = engine.replica;
  const decode = (texts: readonly string[]) => texts.map((text) => decodeRecord(Buffer.from(text, 'base64'), sources));
  const [records, counted] = [decode(brought.records), decode(brought.counted)];
  const counts: Record<OfferVerdict, number> = { applied: 0, superseded: 0, parked: 0 };
  const offered = new Set(records);
  const stop = engine.onNotice((notice) => {
    if (notice.type === 'offered' && offered.has(notice.record))
      for (const { verdict } of notice.verdicts) counts[verdict]++;
  });
  let failure: unknown;
  try {
    for (const namespace of new Set(records.map((record) => record.namespace))) {
      if (signal.aborted) return;
      const own = records.filter((record) => record.namespace === namespace);
      await engine.offer(own, { counted, purgedMs: replication.purgedMs(namespace) }).catch((error) => {
        failure ??= error;
      });
    }
  } finally {
    stop();
  }
  if (failure !== undefined) throw failure;
  // Acknowledged may mean written only; what is forgotten next is the other copy.
  await engine.kv.sync();
  const moved = dataFolder + movedSuffix;
  if (brought.missing > 0 && (await exists(moved))) {
    const kept = `${moved}-${now()}`;
    await rename(moved, kept);
    log.warn({ records: brought.missing, folder: kept }, 'the old store is kept: it alone has what some records wrote');
  }
  await rm(moved, { recursive: true, force: true });
  await rm(path, { force: true });
  log.info(counts, 'what this instance alone had written was offered again');
}

async function readBrought(path: string): Promise<Brought | undefined> {
  const text = await readIfPresent(path);
  return text === undefined ? undefined : (JSON.parse(text) as Brought);
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}
