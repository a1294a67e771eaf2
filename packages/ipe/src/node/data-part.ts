import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import type { Json } from '@ipe/core/policy';
import { liveKey } from '@ipe/core/replica';
import type { Handlers, PlaneService } from '../api/method.ts';
import { createDataService, type Engine, Freshness, openEngine, openFacts, settingsFrom } from '../data/index.ts';
import type { FactPage, FactsSource } from '../evaluation/index.ts';
import { openMark } from '../stores/mark.ts';
import { openFactStore } from './fact-store.ts';
import type { PartsContext } from './start.ts';

export interface DataPart {
  readonly service: PlaneService;
  readonly engine: Engine;
  readonly facts: FactsSource;
  /** Methods of the control plane that look after the fact store. */
  readonly controlHandlers: Handlers;
}

/** Opens the fact store and the data plane over it. */
export async function openDataPart(context: PartsContext): Promise<DataPart> {
  const { config, layout, identity, log, metrics, onClose } = context;
  const settings = config.predicate_service.data_plane;
  const places = { root: layout.root, directory: layout.data, holder: identity.id };
  const { kv, isDurable, handlers } = await openFactStore(config, places, log);
  onClose('fact store', () => kv.close());
  const onError = (error: unknown) => log.error({ err: error }, 'the fact store met an error');
  const mark = isDurable ? await openMark(join(layout.keys, 'data.mark'), { onError }) : undefined;
  if (mark !== undefined) onClose('mark of the fact store', () => mark.close());
  const engine = await openEngine({
    kv,
    origin: identity.origin,
    durability: settings.durability,
    settingsOf: settingsFrom(settings),
    batchWritesMax: settings.batch_size,
    flushIntervalMs: settings.flush_interval_ms,
    tombstoneGraceMs: settings.tombstone_grace,
    logBytesMax: settings.log_max_bytes,
    cacheBytesMax: settings.cache_bytes,
    ...(mark === undefined ? {} : { mark }),
    now: () => Date.now(),
    rng: random,
    onFence: (failure) => {
      if (failure === undefined) log.info('the fact store takes writes again');
      else log.error({ ...failure }, 'the fact store refuses writes');
    },
    onError,
  });
  onClose('facts', () => engine.close());
  metrics.add({
    name: 'ipe_data_writes_refused',
    help: '1 while the fact store refuses writes.',
    read: () => (engine.fence === undefined ? 0 : 1),
  });
  const facts = factsOf(engine, config.evaluation_plane.fresh_wait);
  return { service: createDataService({ engine }), engine, facts, controlHandlers: handlers };
}

/** Uniform in [0, 1), from the system's generator: epochs are drawn from it and must never repeat. */
const random = () => randomInt(2 ** 47) / 2 ** 47;

/** The facts as decisions read them. */
function factsOf(engine: Engine, waitMaxMs: number): FactsSource {
  const freshness = new Freshness(engine, { waitMaxMs });
  return {
    open: (nowMs) => openFacts(engine, nowMs),
    freshAsOf: (token, _timeoutMs, signal) => freshness.reached(token, signal),
    scan: (namespace, after, limit) => scan(engine, namespace, after, limit),
  };
}

async function scan(engine: Engine, namespace: string, after: string | undefined, limit: number): Promise<FactPage> {
  const prefix = `${namespace}.`;
  const from = after === undefined ? { gte: liveKey(prefix) } : { gt: liveKey(prefix + after) };
  const keys: string[] = [];
  // `/` is the byte after `.`: the end of everything that starts with the prefix.
  for await (const [key] of engine.kv.entries('live', { ...from, lt: liveKey(`${namespace}/`), limit }))
    keys.push(Buffer.from(key).toString('utf8'));
  const cells = await engine.getMany(keys);
  const nowMs = engine.readMs();
  const entries = keys.flatMap((key): FactPage['entries'] => {
    const cell = cells.get(key);
    const view = cell?.seenAt(nowMs);
    if (cell === undefined || view === undefined || view.kind === 'siblings' || cell.value instanceof Uint8Array)
      return [];
    return [{ key: key.slice(prefix.length), value: cell.value as Json }];
  });
  const last = keys.at(-1);
  return keys.length < limit || last === undefined ? { entries } : { entries, next: last.slice(prefix.length) };
}
