import { IpeError } from '@ipe/core';
import { checkKey } from '@ipe/core/replica';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { requireAccess } from '../security/access.ts';
import { errorOf } from './driver.ts';
import type { Engine } from './engine.ts';
import { entryOf } from './entry.ts';
import type { Freshness } from './freshness.ts';
import { readKey } from './params.ts';

/** Keys of one `batch-get`. */
export const batchKeysMax = 10_000;

/** The methods that read by key: `get`, `batch-get`. */
export function readMethods(engine: Engine, freshness: Freshness): Handlers {
  return {
    get: (params, { caller, signal }) => {
      const fields = readParams(params, ['key', 'fresh_as_of']);
      const { key, namespace } = readKey(fields, '');
      requireAccess(caller, namespace, 'read');
      requireHeld(engine, namespace);
      const token = fields.optionalString('fresh_as_of');
      if (token !== undefined && !freshness.hasSeen(token))
        return freshness.reached(token, signal).then(async () => entryOf(key, await engine.get(key), engine.readMs()));
      const cell = engine.get(key);
      return cell instanceof Promise
        ? cell.then((loaded) => entryOf(key, loaded, engine.readMs()))
        : entryOf(key, cell, engine.readMs());
    },

    'batch-get': async (params, { caller, signal }) => {
      const fields = readParams(params, ['keys', 'fresh_as_of']);
      const keys = fields.array('keys', batchKeysMax, (item, where) => {
        if (typeof item !== 'string')
          throw new IpeError('invalid_params', `\`${where}\` must be a string`, { details: { field: where } });
        const namespace = checkKey(item, where);
        requireAccess(caller, namespace, 'read');
        requireHeld(engine, namespace);
        return item;
      });
      const token = fields.optionalString('fresh_as_of');
      if (token !== undefined) await freshness.reached(token, signal);
      const cells = await engine.getMany(keys);
      const nowMs = engine.readMs();
      return { entries: keys.map((key) => entryOf(key, cells.get(key)!, nowMs)) };
    },
  };
}

/** @throws IpeError `unavailable` for a namespace that this instance cannot speak for: never an empty answer. */
export function requireHeld(engine: Engine, namespace: string): void {
  const problem = engine.problemOf(namespace);
  if (problem !== undefined) throw errorOf(problem);
}
