import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import type { Handlers } from '../api/method.ts';
import type { Config } from '../config/index.ts';
import { type Engine, type EngineOptions, openEngine, settingsFrom } from '../data/index.ts';
import { openMark } from '../stores/mark.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { Layout } from './directory.ts';
import { openFactStore } from './fact-store.ts';

export interface FactEngineOptions {
  readonly config: Config;
  readonly layout: Layout;
  /** Origin of this instance's writes. */
  readonly origin: string;
  /** Who opens it, named to whoever else tries. */
  readonly holder: string;
  readonly log: Logger;
  /** Whether this instance has, or may have, peers. Default: false. */
  readonly isClustered?: boolean;
  readonly onFence?: EngineOptions['onFence'];
}

/**
 * Opens the facts of a directory as the configuration says. The directory must be locked.
 * @returns the engine, and the control-plane methods that look after its store. Closing the engine closes the store.
 * @throws IpeError `unavailable`, `corrupt`; nothing is left open then.
 */
export async function openFactEngine(options: FactEngineOptions): Promise<{ engine: Engine; handlers: Handlers }> {
  const { config, layout, origin, log, onFence, isClustered = false } = options;
  const settings = config.predicate_service.data_plane;
  const places = { root: layout.root, directory: layout.data, holder: options.holder };
  const onError = (error: unknown) => log.error({ err: error }, 'the fact store met an error');
  const { kv, isDurable, handlers } = await openFactStore(config, places, log);
  try {
    const mark = isDurable ? await openMark(join(layout.keys, 'data.mark'), { onError }) : undefined;
    try {
      const engine = await openEngine({
        kv,
        origin,
        isClustered,
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
        ...(onFence === undefined ? {} : { onFence }),
        onError,
      });
      return { engine, handlers };
    } catch (error) {
      await mark?.close();
      throw error;
    }
  } catch (error) {
    await kv.close();
    throw error;
  }
}

/** Uniform in [0, 1), from the system's generator: epochs are drawn from it and must never repeat. */
const random = () => randomInt(2 ** 47) / 2 ** 47;
