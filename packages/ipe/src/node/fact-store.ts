import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { RekeyReport } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import { type DataFamily, dataFamilies } from '@ipe/core/replica';
import { type Kv, openMemoryKv } from '@ipe/core/store';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import type { Config } from '../config/index.ts';
import { dataLayouts, openPlainStore, openSealedStore, type ResealProgress, type SealedKv } from '../stores/index.ts';
import { readMasterKey } from '../stores/sealed/index.ts';
import type { Logger } from '../telemetry/logger.ts';

/** The fact store as configured, and what keeps its keys. */
export interface FactStore {
  readonly kv: Kv<DataFamily>;
  /** Absent: nothing is left of it after a restart. */
  readonly isDurable: boolean;
  /** `rekey` of the control plane. */
  readonly handlers: Handlers;
}

/**
 * Opens the fact store: in memory, in clear, or sealed. A reseal that a restart cut short goes on in the background.
 * @throws IpeError as `openRocksKv` and `openSealedStore` do
 */
export async function openFactStore(
  config: Config,
  places: { readonly root: string; readonly directory: string; readonly holder: string },
  log: Logger,
): Promise<FactStore> {
  const { directory, holder } = places;
  if (config.predicate_service.data_plane.backend === 'memory')
    return { kv: openMemoryKv({ families: dataFamilies }), isDurable: false, handlers: rekeyHandlers(undefined, log) };
  const { encrypt_at_rest: isSealed, encryption_key_path: keyPath } = config.data_plane.security;
  const options = { directory, families: dataFamilies, holder };
  if (!isSealed || keyPath === undefined)
    return { kv: await openPlainStore(options), isDurable: true, handlers: rekeyHandlers(undefined, log) };
  const seal = { keyPath: resolve(places.root, keyPath), layouts: dataLayouts };
  const sealed = await openSealedStore(options, seal);
  return { kv: sealed, isDurable: true, handlers: rekeyHandlers(sealed, log) };
}

/**
 * `rekey {new_key_path?, start?, wait?}`: wraps the keys by the master key in a new file, begins to seal all rows again in
 * the background unless `start` is false, and tells how far that has come, after `wait` seconds or when it has ended.
 */
function rekeyHandlers(sealed: SealedKv<DataFamily> | undefined, log: Logger): Handlers {
  let last: ResealProgress | undefined = sealed?.resealing;
  let state: RekeyReport['state'] = 'idle';
  let failure: string | undefined;
  let running: Promise<void> = Promise.resolve();
  /** Resolves once a restart would go on with what was begun. */
  let noted: Promise<void> = Promise.resolve();
  const begin = (kv: SealedKv<DataFamily>) => {
    if (state === 'running') return;
    state = 'running';
    failure = undefined;
    let isNoted = () => {};
    const first = new Promise<void>((resolve) => {
      isNoted = resolve;
    });
    const onProgress = (progress: ResealProgress) => {
      last = progress;
      isNoted();
    };
    running = kv.reseal({ onProgress }).then(
      (progress) => {
        last = progress;
        state = progress.done ? 'done' : 'idle';
        if (progress.done) log.info({ rows: progress.rows }, 'all facts are sealed with the new key');
      },
      (error) => {
        state = 'failed';
        failure = error instanceof Error ? error.message : String(error);
        log.error({ err: error }, 'sealing the facts again stopped; it goes on at the next start or `ipe data rekey`');
      },
    );
    noted = Promise.race([first, running]);
  };
  if (last !== undefined) begin(sealed!);
  return {
    rekey: async (params, { signal }): Promise<RekeyReport> => {
      const fields = readParams(params, ['new_key_path', 'start', 'wait']);
      if (sealed === undefined)
        throw new IpeError('invalid_request', 'the fact store is not sealed; see `encrypt_at_rest`');
      const path = fields.optionalString('new_key_path', { empty: false });
      const waitSeconds = fields.optionalNumber('wait', { min: 0, max: 60 });
      const starts = fields.boolean('start', true);
      if (path !== undefined) {
        await sealed.rewrap(await readMasterKey(resolve(path)));
        log.warn({ path }, 'the keys of the fact store are wrapped by another key file: name it in the configuration');
      }
      if (starts) {
        begin(sealed);
        await noted;
      }
      const waitMs = 1000 * (waitSeconds ?? 0);
      if (waitMs > 0) await Promise.race([running, pause(waitMs, undefined, { signal, ref: false }).catch(() => {})]);
      return {
        state,
        rows: last?.rows ?? 0,
        families_done: last?.familiesDone ?? 0,
        families: dataFamilies.length,
        rewrapped: path !== undefined,
        ...(failure !== undefined && { error: failure }),
      };
    },
  };
}
