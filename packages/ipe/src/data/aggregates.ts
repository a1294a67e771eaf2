import { IpeError } from '@ipe/core';
import { canonicalJson } from '@ipe/core/bytes';
import type { AddWrite, MembersWrite, WriteDone } from '@ipe/core/replica';
import type { Handler, Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { requireAccess } from '../security/access.ts';
import type { Engine } from './engine.ts';
import { readKey } from './params.ts';
import { nameOf, orThrow, submit } from './writes.ts';

/** Members of one `set-add` or `set-remove`. */
export const setChangesMax = 1_000;
const memberBytesMax = 1024;
/** Longest window: a year, in seconds. */
const windowMaxSeconds = 31_536_000;

/** The methods of counters and sets: `add`, `set-add`, `set-remove`. */
export function aggregateMethods(engine: Engine): Handlers {
  return {
    add: async (params, { caller }) => {
      const fields = readParams(params, ['key', 'amount', 'window', 'request_id']);
      const { key, namespace } = readKey(fields, '');
      requireAccess(caller, namespace, 'write');
      const amount = fields.integer('amount', { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER });
      const window = fields.optionalInteger('window', { min: 1, max: windowMaxSeconds });
      const name = nameOf(fields.optionalString('request_id', { maxBytes: 128, empty: false }), caller, 'add', params);
      const write: AddWrite = {
        op: 'add',
        namespace,
        key,
        amount,
        ...(window !== undefined && { windowMs: window * 1000 }),
      };
      const [result] = await submit(engine, [{ ...write, ...name }]);
      return aggregateResult(orThrow(result!, engine), 0);
    },
    'set-add': changeMembers(engine, 'set-add'),
    'set-remove': changeMembers(engine, 'set-remove'),
  };
}

function changeMembers(engine: Engine, op: MembersWrite['op']): Handler {
  return async (params, { caller }) => {
    const fields = readParams(params, ['key', 'members', 'request_id']);
    const { key, namespace } = readKey(fields, '');
    requireAccess(caller, namespace, 'write');
    const members = fields.array('members', setChangesMax, readMember);
    if (members.length === 0) throw fields.refuse('members', 'is empty');
    const name = nameOf(fields.optionalString('request_id', { maxBytes: 128, empty: false }), caller, op, params);
    const [result] = await submit(engine, [{ op, namespace, key, members, ...name }]);
    return aggregateResult(orThrow(result!, engine), []);
  };
}

function readMember(item: unknown, where: string): string {
  if (typeof item !== 'string' && typeof item !== 'number' && typeof item !== 'boolean')
    throw new IpeError('invalid_params', `\`${where}\` must be a string, a number or a boolean`, {
      details: { field: where },
    });
  if (typeof item === 'string' && /\p{Cs}/u.test(item))
    throw new IpeError('invalid_params', `\`${where}\` holds half of a surrogate pair`, { details: { field: where } });
  const text = canonicalJson(item);
  if (Buffer.byteLength(text) > memberBytesMax)
    throw new IpeError('too_large', `\`${where}\` is longer than ${memberBytesMax} bytes`, {
      details: { field: where, max_bytes: memberBytesMax },
    });
  return text;
}

function aggregateResult({ key, version, etag, updatedMs, token, valueJson }: WriteDone, empty: unknown) {
  const value: unknown = valueJson === undefined ? empty : JSON.parse(valueJson);
  return { key, value, version, etag, updated_at: updatedMs / 1000, token };
}
