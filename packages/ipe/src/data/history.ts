import { ByteReader, type Cell, readCell, versionsKey } from '@ipe/core/replica';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { requireAccess } from '../security/access.ts';
import type { Engine } from './engine.ts';
import { describe, type Entry } from './entry.ts';
import { readKey } from './params.ts';
import { requireHeld } from './reads.ts';

/** The method `history`: what a key held, newest first, as far back as the namespace keeps it. */
export function historyMethods(engine: Engine): Handlers {
  return {
    history: async (params, { caller }) => {
      const fields = readParams(params, ['key', 'limit']);
      const { key, namespace } = readKey(fields, '');
      requireAccess(caller, namespace, 'read');
      requireHeld(engine, namespace);
      const limit = fields.integerOr('limit', 100, { min: 1, max: 10_000 });
      return { versions: await versionsOf(engine, key, namespace, limit) };
    },
  };
}

interface PastVersion extends Entry {
  readonly deleted?: true;
  /** Unix seconds; absent on what the key holds now. */
  readonly replaced_at?: number;
  /** Ids of the writes it stems from, as receipts name them. */
  readonly dots: readonly string[];
}

/** What a key holds and held, newest first. The namespace must be held. */
export async function versionsOf(
  engine: Engine,
  key: string,
  namespace: string,
  limit: number,
): Promise<PastVersion[]> {
  const { replica } = engine;
  const strategy = replica.strategyOf(namespace);
  const oldestMs = engine.readMs() - engine.settingsOf(namespace).historyAgeMs;
  const loaded = await engine.get(key);
  // In one tick, so that no version falls between what is live and what is past.
  const live = replica.peek(key) ?? loaded;
  const snapshot = engine.kv.snapshot();
  const past: { readonly cell: Cell; readonly replacedMs: number }[] = [];
  try {
    const range = { gte: versionsKey(key, 0), lte: versionsKey(key, 0xffff) };
    for await (const [, value] of snapshot.entries('versions', range)) {
      const input = new ByteReader(value, replica.sources);
      const replacedMs = input.u48();
      const cell = readCell(input, strategy);
      if (replacedMs > oldestMs) past.push({ cell, replacedMs });
    }
  } finally {
    await snapshot.close();
  }
  const liveMs = live.view?.updatedMs ?? Number.POSITIVE_INFINITY;
  const versions = past
    // A write under way has its predecessor here already, which is still what the key holds.
    .filter(({ cell }) => cell.etag !== live.etag && cell.view!.updatedMs <= liveMs)
    .sort((a, b) => b.cell.view!.updatedMs - a.cell.view!.updatedMs || b.cell.revision - a.cell.revision)
    .map(({ cell, replacedMs }) => pastVersion(key, cell, replacedMs));
  if (live.state !== undefined) versions.unshift(pastVersion(key, live));
  return versions.slice(0, limit);
}

function pastVersion(key: string, cell: Cell, replacedMs?: number): PastVersion {
  return {
    ...describe(key, cell, cell.view!),
    ...(cell.view!.kind === 'absent' && { deleted: true as const }),
    ...(replacedMs !== undefined && { replaced_at: replacedMs / 1000 }),
    dots: cell.dots,
  };
}
