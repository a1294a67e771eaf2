import { rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Accepted,
  acceptedUpTo,
  decodeRecord,
  isFolded,
  type LogRecord,
  logKey,
  type OfferVerdict,
  type Source,
} from '@ipe/core/replica';
import { readIfPresent, writePrivate } from '../cluster/identity.ts';
import { readMembers } from '../cluster/membership.ts';
import type { Engine } from '../data/index.ts';
import { openFactEngine } from './fact-engine.ts';
import { parkedKey, parkedOf } from './parked.ts';
import type { PartsContext } from './start.ts';

/** What a returning instance brings along, kept in a file until all of it is offered again. */
interface Brought {
  /** By namespace and source: what counts of what it wrote before. */
  readonly closed: Accepted;
  /** Records in base64, in order of namespace, source and number. */
  readonly records: readonly string[];
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
  return { closed, records };
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

export interface OfferOptions {
  readonly root: string;
  readonly dataFolder: string;
  readonly engine: Engine;
  readonly replication: { readonly isSettled: boolean; purgedMs(namespace: string): number };
  readonly log: Pick<PartsContext['log'], 'info' | 'error'>;
}

/** Time for peers to tell what they have purged, once all their facts are here. */
const settledForMs = 3_000;
const lookMs = 200;

/**
 * Offers again what a returned instance alone had written, once it holds what the others do; what may concern something
 * that was deleted meanwhile is parked under `_sys.parked`. Forgets the old store afterwards.
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

async function run({ root, dataFolder, engine, replication, log }: OfferOptions, signal: AbortSignal): Promise<void> {
  const path = join(root, fileName);
  const brought = await readBrought(path);
  if (brought === undefined) return;
  for (let settledMs = 0; settledMs < settledForMs; settledMs += replication.isSettled ? lookMs : 0) {
    if (signal.aborted) return;
    await new Promise((resolve) => setTimeout(resolve, lookMs).unref());
  }
  const { sources } = engine.replica;
  const records = brought.records.map((text) => decodeRecord(Buffer.from(text, 'base64'), sources));
  const counts: Record<OfferVerdict, number> = { applied: 0, superseded: 0, parked: 0 };
  for (const namespace of new Set(records.map((record) => record.namespace))) {
    const own = records.filter((record) => record.namespace === namespace);
    for (const [verdict, count] of Object.entries(await offerAll(engine, own, replication.purgedMs(namespace))))
      counts[verdict as OfferVerdict] += count;
    if (signal.aborted) return;
  }
  await rm(path, { force: true });
  await rm(dataFolder + movedSuffix, { recursive: true, force: true });
  log.info(counts, 'what this instance alone had written was offered again');
}

/** Offers records of one namespace, and parks what must be. Resolves once all is durable. */
async function offerAll(
  engine: Engine,
  records: readonly LogRecord[],
  purgedMs: number,
): Promise<Record<OfferVerdict, number>> {
  const counts = { applied: 0, superseded: 0, parked: 0 };
  const parking: Promise<void>[] = [];
  const parked = parkedOf(records);
  let left = records.length;
  await new Promise<void>((resolve) => {
    const stop = engine.onNotice((notice) => {
      if (notice.type !== 'offered' || !records.includes(notice.record)) return;
      for (const [idx, { verdict, parked: operation }] of notice.verdicts.entries()) {
        counts[verdict]++;
        if (operation !== undefined) parking.push(park(engine, parked(notice.record, idx, operation)));
      }
      if (--left > 0) return;
      stop();
      resolve();
    });
    engine.offer(records, purgedMs);
  });
  await Promise.all(parking);
  return counts;
}

async function park(engine: Engine, write: ReturnType<ReturnType<typeof parkedOf>>): Promise<void> {
  await engine.put(parkedKey(write.id), write);
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
