import type { Json } from '@ipe/core/policy';
import type { Handlers, PlaneService } from '../api/method.ts';
import {
  type Acks,
  backupMethods,
  createDataService,
  type Engine,
  Freshness,
  openFacts,
  readPattern,
  Scrubber,
  scan,
  scrubMethods,
  versionsOf,
} from '../data/index.ts';
import type { FactPage, FactsSource, FactVersion } from '../evaluation/index.ts';
import { openFactEngine } from './fact-engine.ts';
import type { PartsContext } from './start.ts';

export interface DataPart {
  readonly service: PlaneService;
  readonly engine: Engine;
  readonly facts: FactsSource;
  /** Looks for damage in what is stored, and counts the digests that peers compare. */
  readonly scrubber: Scrubber;
  /** Lets acknowledgements wait for peers, once there are any. */
  waitFor(acks: Acks): void;
  /** Methods of the control plane that look after the fact store. */
  readonly controlHandlers: Handlers;
}

/** Opens the fact store and the data plane over it. */
export async function openDataPart(context: PartsContext, isClustered: boolean): Promise<DataPart> {
  const { config, layout, identity, log, metrics, onClose } = context;
  const { engine, handlers } = await openFactEngine({
    config,
    layout,
    origin: identity.origin,
    isClustered,
    holder: identity.id,
    log,
    onFence: (failure) => {
      if (failure === undefined) log.info('the fact store takes writes again');
      else log.error({ ...failure }, 'the fact store refuses writes');
    },
  });
  onClose('facts', () => engine.close());
  const { scrub_interval: intervalMs, scrub_rows_per_second: rowsPerSecond } = config.predicate_service.data_plane;
  const scrubber = new Scrubber({ engine, intervalMs, rowsPerSecond, log });
  onClose('scrub', () => scrubber.close());
  let acks: Acks | undefined;
  const service = createDataService({
    engine,
    acks: {
      get peerCount() {
        return acks?.peerCount ?? 0;
      },
      peers: async (count, token, signal) => await acks?.peers(count, token, signal),
    },
  });
  const waitFor = (given: Acks) => {
    acks = given;
  };
  onClose('fact subscriptions', () => service.close());
  metrics.add({
    name: 'ipe_data_writes_refused',
    help: '1 while the fact store refuses writes.',
    read: () => (engine.fence === undefined ? 0 : 1),
  });
  engine.damage.onMet(({ namespace, key, failure: { message } }) =>
    log.error(
      { namespace, key },
      `a damaged fact was met: ${message}; it is refused until a backup or a peer mends it`,
    ),
  );
  metrics.add({
    name: 'ipe_data_damaged_rows',
    help: 'Damaged rows of facts that were met and not mended since.',
    read: () => engine.damage.count,
  });
  metrics.add({
    name: 'ipe_data_mended_total',
    help: 'Damaged rows of facts and of the log that were mended, from memory or from a peer.',
    read: () => scrubber.mended,
  });
  const facts = factsOf(engine, config.evaluation_plane.fresh_wait);
  const controlHandlers = { ...handlers, ...backupMethods(engine), ...scrubMethods(scrubber) };
  return { service, engine, facts, scrubber, waitFor, controlHandlers };
}

/** The facts as decisions read them. */
function factsOf(engine: Engine, waitMaxMs: number): FactsSource {
  const freshness = new Freshness(engine, { waitMaxMs });
  return {
    open: (nowMs) => openFacts(engine, nowMs),
    freshAsOf: (token, _timeoutMs, signal) => freshness.reached(token, signal),
    scan: (namespace, after, limit) => candidates(engine, namespace, after, limit),
    versions: (namespace, key) => versions(engine, namespace, key),
  };
}

async function versions(engine: Engine, namespace: string, key: string): Promise<readonly FactVersion[]> {
  if (engine.replica.problemOf(namespace) !== undefined) return [];
  const held = await versionsOf(engine, `${namespace}.${key}`, namespace, 10_000);
  return held.flatMap(({ dots, value }) => (value === undefined ? [] : [{ dots, value: value as Json }]));
}

async function candidates(
  engine: Engine,
  namespace: string,
  after: string | undefined,
  limit: number,
): Promise<FactPage> {
  const prefix = `${namespace}.`;
  const entries: { key: string; value: Json }[] = [];
  const nowMs = engine.readMs();
  // A candidate that cannot be read cannot be found allowed either.
  const options = { after: after === undefined ? undefined : prefix + after, onDamaged: () => {} };
  for await (const { key, cell } of scan(engine, readPattern(`${prefix}*`), options)) {
    const view = cell.seenAt(nowMs);
    if (view === undefined || view.kind === 'siblings' || cell.value instanceof Uint8Array) continue;
    entries.push({ key: key.slice(prefix.length), value: cell.value as Json });
    if (entries.length === limit) return { entries, next: key.slice(prefix.length) };
  }
  return { entries };
}
