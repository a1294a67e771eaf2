import { rm } from 'node:fs/promises';
import type { PolicyStore } from '@ipe/core/tree';
import type { Handlers } from '../api/method.ts';
import { type Params, readParams } from '../api/params.ts';
import { restoreBackup, writeBackup, writeBundle } from '../repository/index.ts';
import type { Transfers } from './transfers.ts';
import { updateJson } from './wire.ts';
import { authorOf } from './writer.ts';

export interface BackupMethodOptions {
  readonly store: PolicyStore;
  readonly transfers: Transfers;
  /** Unix milliseconds. */
  readonly clock: () => number;
}

/** Text of one piece of an upload: at most 12 MiB of bytes. */
const pieceMaxBytes = 16 * 1024 * 1024;

/**
 * `backup` and `restore-backup`: whole files in pieces, because a request has a bounded size.
 *
 * `backup` answers the first piece and `next`; given back as `cursor`, it brings the one after. `restore-backup` with
 * `more` stores a piece and answers `upload` for the next; without `more` it restores what was sent.
 */
export function backupMethods({ store, transfers, clock }: BackupMethodOptions) {
  return {
    backup: async (params) => {
      const fields = readParams(params, ['since', 'cursor']);
      const cursor = fields.optionalString('cursor', { maxBytes: 256, empty: false });
      if (cursor !== undefined) return transfers.send(cursor);
      const since = fields.optionalString('since', { maxBytes: 256, empty: false });
      const file = transfers.place();
      try {
        const written =
          since === undefined
            ? await writeBackup(store, file, clock())
            : await writeBundle(store, file, (await store.resolve(since)).commit ?? since);
        const first = await transfers.send(`${transfers.offer(file)}.0`);
        return {
          kind: since === undefined ? 'full' : 'incremental',
          commit: written.commit,
          since: since ?? null,
          objects: written.objects,
          size_bytes: written.sizeBytes,
          ...first,
        };
      } catch (error) {
        await rm(file, { force: true });
        throw error;
      }
    },

    'restore-backup': async (params, context) => {
      const fields = readParams(params, ['data', 'upload', 'more', 'branch', 'message']);
      const data = readBase64(fields);
      const branch = fields.optionalString('branch', { maxBytes: 256, empty: false });
      const message = fields.optionalString('message', { maxBytes: 65_536 });
      const more = fields.boolean('more');
      const upload = await transfers.receive(fields.optionalString('upload', { maxBytes: 256, empty: false }), data);
      if (more) return { upload };
      return transfers.finish(upload, async (file) => {
        const report = await restoreBackup(store, file, {
          author: authorOf(context.caller),
          timeMs: clock(),
          ...(branch !== undefined && { branch }),
          ...(message !== undefined && { message }),
        });
        return {
          ...updateJson(report.update),
          outcome: report.outcome,
          stored_objects: report.newObjects,
          refs: report.refs,
        };
      });
    },
  } satisfies Handlers;
}

function readBase64(fields: Params): Uint8Array {
  const text = fields.optionalString('data', { maxBytes: pieceMaxBytes }) ?? '';
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) throw fields.refuse('data', 'must be base64 text');
  return Buffer.from(text, 'base64');
}
