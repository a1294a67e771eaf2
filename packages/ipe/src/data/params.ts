import { IpeError } from '@ipe/core';
import { checkKey, type PutWrite, valueBytesMax } from '@ipe/core/replica';
import { type Params, readParams } from '../api/params.ts';

/** Longest life that can be asked for: about 100 years, in seconds. */
const ttlMaxSeconds = 3_155_760_000;

/** A key, checked, with its namespace. */
export function readKey(params: Params, where: string): { readonly key: string; readonly namespace: string } {
  const key = params.string('key');
  return { key, namespace: checkKey(key, where === '' ? 'key' : `${where}.key`) };
}

/** Names that `readPut` takes besides those that belong to the request as a whole. */
const putNames = ['key', 'value', 'value_base64', 'ttl', 'if_version', 'if_match'];
const requestNames = ['ack', 'request_id'];

/** What a put asks for, with what belongs to the request. */
export interface PutParams {
  readonly write: PutWrite;
  readonly ack: string | undefined;
  readonly requestId: string | undefined;
}

/**
 * Reads the parameters of one put.
 * @param where how the errors name it: `entries[3]`; empty for the whole request
 * @param inTransaction a transaction's operation: `op` is taken, what belongs to the request is not
 */
export function readPut(raw: unknown, where: string, inTransaction = false): PutParams {
  const params = readParams(raw, [...putNames, ...(inTransaction ? ['op'] : requestNames)], where);
  const { key, namespace } = readKey(params, where);
  const ttl = params.optionalNumber('ttl', { max: ttlMaxSeconds });
  if (ttl !== undefined && ttl <= 0) throw params.refuse('ttl', 'must be more than 0 seconds', { min: 0 });
  const conditions = readConditions(params);
  return {
    write: {
      op: 'put',
      namespace,
      key,
      ...readValue(params, where),
      ...(ttl !== undefined && { ttlMs: Math.max(Math.round(ttl * 1000), 1) }),
      ...conditions,
    },
    ack: inTransaction ? undefined : params.optionalString('ack'),
    requestId: inTransaction ? undefined : params.optionalString('request_id', { maxBytes: 128, empty: false }),
  };
}

export function readConditions(params: Params): { readonly ifVersion?: number; readonly ifMatch?: string } {
  const ifVersion = params.optionalInteger('if_version', { min: 0 });
  const ifMatch = params.optionalString('if_match', { maxBytes: 64, empty: false });
  return { ...(ifVersion !== undefined && { ifVersion }), ...(ifMatch !== undefined && { ifMatch }) };
}

function readValue(params: Params, where: string): { readonly json: string } | { readonly bytes: Uint8Array } {
  const text = params.optionalString('value_base64', { maxBytes: Math.ceil(valueBytesMax / 3) * 4 + 4 });
  if (text === undefined) {
    if (!params.has('value')) throw params.refuse('value', 'is missing; expected any JSON, or `value_base64`');
    const json = JSON.stringify(params.raw('value'));
    if (json === undefined) throw params.refuse('value', 'must be JSON');
    if (json.length > valueBytesMax || (json.length * 3 > valueBytesMax && Buffer.byteLength(json) > valueBytesMax))
      throw tooLarge(where);
    return { json };
  }
  if (params.has('value')) throw params.refuse('value_base64', 'and `value` exclude each other');
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text)) throw params.refuse('value_base64', 'must be base64');
  const bytes = new Uint8Array(Buffer.from(text, 'base64'));
  if (bytes.length > valueBytesMax) throw tooLarge(where);
  return { bytes };
}

function tooLarge(where: string): IpeError {
  const field = where === '' ? 'value' : `${where}.value`;
  return new IpeError('too_large', `\`${field}\` is larger than ${valueBytesMax} bytes`, {
    details: { field, max_bytes: valueBytesMax },
  });
}
