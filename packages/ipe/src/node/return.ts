import { rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Accepted, type Aside, carriedOn, decodeRecord, type OfferVerdict, setAside } from '@ipe/core/replica';
import { readIfPresent, writePrivate } from '../cluster/identity.ts';
import { readMembers } from '../cluster/membership.ts';
import type { Engine } from '../data/index.ts';
import { pause } from '../planes/deliveries.ts';
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
  const moved = layout.data + movedSuffix;
  let brought = await readBrought(path);
  // Left by an offering that ended, perhaps to be kept.
  if (brought === undefined && (await exists(moved))) await rename(moved, keptName(moved));
  // It began anew, and was evicted again before it had offered everything.
  const isAgain = (await exists(moved)) && (await exists(layout.data));
  if (brought === undefined || isAgain) {
    const before = brought?.missing ?? 0;
    brought = await readAside(context, own.lastAccepted ?? {}, brought);
    await writePrivate(path, JSON.stringify(brought));
    if (isAgain && brought.missing > before) await rename(layout.data, keptName(moved));
  }
  // In this order: a start in between finds the store gone, never a mark or a memory of one that is.
  await rm(join(layout.keys, 'data.mark'), { force: true });
  await rm(join(layout.root, 'replication.json'), { force: true });
  if (await exists(moved)) await rm(layout.data, { recursive: true, force: true });
  else if (await exists(layout.data)) await rename(layout.data, moved);
  log.warn({ records: brought.records.length }, 'this instance was evicted while it was away, and returns');
  return brought.closed;
}

const keptName = (moved: string) => `${moved}-${Date.now()}`;

/**
 * Reads from the old store what this instance wrote beyond what the others accept.
 * @param earlier what it had not offered again by then, perhaps in part
 */
async function readAside(context: PartsContext, accepted: Accepted, earlier: Brought | undefined): Promise<Brought> {
  const { config, layout, identity, log } = context;
  const options = { config, layout, origin: identity.origin, holder: identity.id, log, isClustered: true };
  const { engine } = await openFactEngine(options);
  let aside: Aside;
  try {
    const { sources } = engine.replica;
    const reading = setAside({ origin: identity.origin, sources, namespaces: engine.namespaces(), accepted });
    let step = reading.next();
    while (!step.done) step = reading.next(await engine.kv.get('log', step.value));
    aside =
      earlier === undefined ? step.value : carriedOn(asideOf(earlier), engine.replica.offersMade, step.value, sources);
  } finally {
    await engine.close();
  }
  for (const { namespace, source, counters } of aside.unknown)
    log.error(
      { namespace, source: source.id, counters },
      'the log no longer tells how much of these counters counts already: what is parked of them shows all that was added since the start',
    );
  for (const { namespace, source, records } of aside.missing)
    log.error(
      { namespace, source: source.id, missing: records },
      'records that nobody else has are no longer in the log: what they wrote is in the old store alone',
    );
  return {
    closed: aside.closed,
    records: inBase64(aside.records),
    counted: inBase64(aside.counted),
    missing: aside.missing.reduce((sum, { records }) => sum + records, earlier?.missing ?? 0),
  };
}

const inBase64 = (rows: readonly Uint8Array[]) => rows.map((row) => Buffer.from(row).toString('base64'));
const outOfBase64 = (texts: readonly string[]) => texts.map((text) => Buffer.from(text, 'base64'));

const asideOf = ({ closed, records, counted }: Brought): Aside => ({
  closed,
  records: outOfBase64(records),
  counted: outOfBase64(counted),
  missing: [],
  unknown: [],
});

export interface OfferOptions {
  readonly root: string;
  readonly dataFolder: string;
  readonly engine: Engine;
  readonly replication: {
    readonly isSettled: boolean;
    readonly hasRegained: boolean;
    purgedMs(namespace: string): number;
  };
  readonly log: Pick<PartsContext['log'], 'info' | 'warn' | 'error'>;
  readonly now: () => number;
  /** Wait after a failure; twice as long after each further one, up to five minutes. */
  readonly retryMs?: number;
}

const lookMs = 200;
const retryMinMs = 5_000;
const retryMaxMs = 300_000;

/**
 * Offers again what a returned instance alone had written, once it holds what the others do; what may concern something
 * that was deleted meanwhile is parked under `_sys.parked`. Forgets the old store afterwards; one of which the log
 * did not tell everything is kept, under another name. What cannot be offered, such as while a disk is full, is tried again
 * until it can; what is not done when this instance ends is done after its next start.
 * @returns how to stop
 */
export function offerAgain(options: OfferOptions): () => void {
  const closing = new AbortController();
  void offerUntilDone(options, closing.signal);
  return () => closing.abort();
}

async function offerUntilDone(options: OfferOptions, signal: AbortSignal): Promise<void> {
  const counts: Record<OfferVerdict, number> = { applied: 0, superseded: 0, parked: 0 };
  for (let waitMs = options.retryMs ?? retryMinMs; !signal.aborted; waitMs = Math.min(2 * waitMs, retryMaxMs)) {
    try {
      return await run(options, counts, signal);
    } catch (error) {
      if (signal.aborted) return;
      const message = 'what this instance alone had written is not offered yet, and will be tried again';
      options.log.error({ err: error, retryMs: waitMs }, message);
    }
    await pause(waitMs, signal);
  }
}

async function run(options: OfferOptions, counts: Record<OfferVerdict, number>, signal: AbortSignal): Promise<void> {
  const { root, dataFolder, engine, replication, log, now } = options;
  const path = join(root, fileName);
  const brought = await readBrought(path);
  if (brought === undefined) return;
  // Each member counts with this one from when it answers: what it purged before, it has told by then. And what counts
  // of what was written here before the eviction has to be here: of an addition, what lies beyond that is offered.
  while (!replication.isSettled || !replication.hasRegained) {
    if (signal.aborted) return;
    await pause(lookMs, signal);
  }
  const { sources } = engine.replica;
  const decode = (texts: readonly string[]) => outOfBase64(texts).map((row) => decodeRecord(row, sources));
  const [records, counted] = [decode(brought.records), decode(brought.counted)];
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
  // First: with this file gone, a later eviction begins with what the store holds now.
  await rm(path, { force: true });
  const moved = dataFolder + movedSuffix;
  if (brought.missing > 0 && (await exists(moved))) {
    const kept = `${moved}-${now()}`;
    await rename(moved, kept);
    log.warn({ records: brought.missing, folder: kept }, 'the old store is kept: it alone has what some records wrote');
  }
  await rm(moved, { recursive: true, force: true });
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
