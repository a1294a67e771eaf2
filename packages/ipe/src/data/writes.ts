import { createHash } from 'node:crypto';
import { type ErrorBody, errorCodes } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import type {
  DeleteWrite,
  PutWrite,
  Write,
  WriteDone,
  WriteOutcome,
  WriteRefused,
  WriteResult,
} from '@ipe/core/replica';
import type { CallContext, Caller, Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { requireAccess } from '../security/access.ts';
import { errorOf } from './driver.ts';
import type { Engine } from './engine.ts';
import { entryOf } from './entry.ts';
import { type PutParams, readConditions, readKey, readPut } from './params.ts';

/** Entries of one `batch-put`. */
export const batchEntriesMax = 10_000;
/** Operations of one transaction. */
export const transactionOperationsMax = 1_000;

/** How a write's acknowledgement waits for peers, where there are any. */
export interface Acks {
  /**
   * Waits until `count` other members hold the record that a token names.
   * @throws IpeError `unavailable`, state `applied`: the write stands, too few hold it yet
   */
  peers(count: number, token: string, signal: AbortSignal): Promise<void>;
  /** Members besides this one. */
  readonly peerCount: number;
}

/** The methods that write: `put`, `batch-put`, `delete`, `transaction`. */
export function writeMethods(engine: Engine, acks: Acks): Handlers {
  return {
    put: async (params, context) => {
      const put = readPut(params, '');
      requireAccess(context.caller, put.write.namespace, 'write');
      const peers = readAck(put.ack, acks);
      const [result] = await submit(engine, [named(put, context.caller, params)]);
      const done = orThrow(result!, engine);
      if (peers > 0) await acks.peers(peers, done.token, context.signal);
      return putResult(done);
    },

    'batch-put': async (params, context) => {
      const entries = readParams(params, ['entries']).array('entries', batchEntriesMax, (item) => item);
      return { results: await batchPut(engine, acks, entries, context) };
    },

    delete: async (params, context) => {
      const fields = readParams(params, ['key', 'if_version', 'if_match', 'ack', 'request_id']);
      const { key, namespace } = readKey(fields, '');
      requireAccess(context.caller, namespace, 'write');
      const peers = readAck(fields.optionalString('ack'), acks);
      const requestId = fields.optionalString('request_id', { maxBytes: 128, empty: false });
      const write: DeleteWrite = { op: 'delete', namespace, key, ...readConditions(fields) };
      const [result] = await submit(engine, [{ ...write, ...nameOf(requestId, context.caller, 'delete', params) }]);
      const done = orThrow(result!, engine);
      if (peers > 0) await acks.peers(peers, done.token, context.signal);
      return deleteResult(done);
    },

    transaction: async (params, context) => {
      const fields = readParams(params, ['operations', 'ack', 'request_id']);
      const writes = fields.array('operations', transactionOperationsMax, readOperation);
      if (writes.length === 0) throw fields.refuse('operations', 'is empty');
      for (const { namespace } of writes) requireAccess(context.caller, namespace, 'write');
      const stranger = writes.findIndex(({ namespace }) => namespace !== writes[0]!.namespace);
      if (stranger > 0)
        throw fields.refuse(
          `operations[${stranger}].key`,
          `is in namespace \`${writes[stranger]!.namespace}\`, the first in \`${writes[0]!.namespace}\`: a transaction keeps to one`,
        );
      const peers = readAck(fields.optionalString('ack'), acks);
      const requestId = fields.optionalString('request_id', { maxBytes: 128, empty: false });
      const name = nameOf(requestId, context.caller, 'transaction', params);
      const outcome = await engine.submit({ writes, atomic: true, ...name, sizeBytes: sizeOf(writes) });
      const results = resultsOf(outcome, engine).map((result) => orThrow(result, engine));
      const last = results.at(-1)!;
      if (peers > 0) await acks.peers(peers, last.token, context.signal);
      const version = results.reduce((highest, result) => Math.max(highest, result.version), 0);
      return {
        results: results.map((result, i) => (writes[i]!.op === 'delete' ? deleteResult(result) : putResult(result))),
        version,
        token: last.token,
      };
    },
  };
}

/** Writes admitted in one step; the next chunk follows when they are judged, so that old values do not pile up. */
const chunkEntries = 1_000;

async function batchPut(
  engine: Engine,
  acks: Acks,
  entries: readonly unknown[],
  context: CallContext,
): Promise<readonly unknown[]> {
  const results: unknown[] = new Array(entries.length);
  const writes: { readonly index: number; readonly write: PutWrite }[] = [];
  let peers = 0;
  entries.forEach((entry, index) => {
    try {
      const put = readPut(entry, `entries[${index}]`);
      requireAccess(context.caller, put.write.namespace, 'write');
      peers = Math.max(peers, readAck(put.ack, acks));
      writes.push({ index, write: named(put, context.caller, entry) });
    } catch (error) {
      if (!(error instanceof IpeError)) throw error;
      const key = (entry as { readonly key?: unknown } | null)?.key;
      results[index] = { ...(typeof key === 'string' && { key }), error: errorBody(error) };
    }
  });
  const chunks: (typeof writes)[] = [];
  for (let at = 0; at < writes.length; at += chunkEntries) chunks.push(writes.slice(at, at + chunkEntries));
  let last: WriteDone | undefined;
  let failed = 0;
  await Promise.all(
    chunks.map(async (chunk) => {
      const fail = (error: unknown) => {
        if (!(error instanceof IpeError)) throw error;
        // The first chunks may stand: only where none does is the call itself refused.
        if (++failed === chunks.length) throw error;
        for (const { index, write } of chunk) results[index] = { key: write.key, error: errorBody(error) };
      };
      const answers = await submit(
        engine,
        chunk.map(({ write }) => write),
      ).catch(fail);
      answers?.forEach((answer, i) => {
        if (answer.ok) last = answer;
        const { index } = chunk[i]!;
        results[index] = answer.ok ? putResult(answer) : { key: answer.key, error: errorBody(refusal(answer, engine)) };
      });
    }),
  );
  if (peers > 0 && last !== undefined) await acks.peers(peers, last.token, context.signal);
  return results;
}

function readOperation(item: unknown, where: string): Write {
  const op = typeof item === 'object' && item !== null ? (item as { readonly op?: unknown }).op : undefined;
  if (op === 'put') return readPut(item, where, true).write;
  if (op === 'delete') {
    const fields = readParams(item, ['op', 'key', 'if_version', 'if_match'], where);
    return { op: 'delete', ...readKey(fields, where), ...readConditions(fields) };
  }
  throw readParams(item, ['op', 'key', 'value', 'value_base64', 'ttl', 'if_version', 'if_match'], where).refuse(
    'op',
    'must be `put` or `delete`',
  );
}

/** Submits independent writes; a failure of the store fails the call. */
export async function submit(engine: Engine, writes: readonly Write[]): Promise<readonly WriteResult[]> {
  const outcome = await engine.submit({ writes, atomic: false, sizeBytes: sizeOf(writes) });
  return resultsOf(outcome, engine);
}

function resultsOf(outcome: WriteOutcome, engine: Engine): readonly WriteResult[] {
  if (outcome.ok) return outcome.results;
  throw outcome.failure.refused === undefined ? errorOf(outcome.failure) : refusal(outcome.failure.refused, engine);
}

export function orThrow(result: WriteResult, engine: Engine): WriteDone {
  if (!result.ok) throw refusal(result, engine);
  return result;
}

/** A refused write as an error; a failed condition carries what the key holds. */
function refusal({ reason, message, details, current }: WriteRefused, engine: Engine): IpeError {
  const key = details?.['key'];
  return new IpeError(reason, message, {
    details: {
      ...details,
      ...(current !== undefined && typeof key === 'string' && { current: entryOf(key, current, engine.readMs()) }),
    },
  });
}

/** An error inside a result, in the form of the wire. */
function errorBody({ reason, message, details, state }: IpeError): ErrorBody {
  return { code: errorCodes[reason].code, message, data: { reason, state, ...details } };
}

function putResult({ key, version, etag, updatedMs, token, isCreated }: WriteDone) {
  const result = { key, version, etag, updated_at: updatedMs / 1000, token };
  return isCreated ? { ...result, created: true as const } : result;
}

function deleteResult({ key, version, etag, updatedMs, token }: WriteDone) {
  return { key, version, etag, tombstone: true, deleted_at: updatedMs / 1000, token };
}

function readAck(ack: string | undefined, acks: Acks): number {
  if (ack === undefined || ack === 'local') return 0;
  const count = /^peers:([1-9]\d{0,3})$/.exec(ack)?.[1];
  if (count === undefined)
    throw new IpeError('invalid_params', '`ack` must be `local` or `peers:<count>`', { details: { field: 'ack' } });
  if (Number(count) > acks.peerCount)
    throw new IpeError('unavailable', `\`ack\` asks for ${count} peers, and there are ${acks.peerCount}`, {
      details: { field: 'ack', peers: acks.peerCount },
    });
  return Number(count);
}

function named(put: PutParams, caller: Caller, params: unknown): PutWrite {
  return put.requestId === undefined ? put.write : { ...put.write, ...nameOf(put.requestId, caller, 'put', params) };
}

/** The name of a request within its caller, and a hash of what it asks, by which a retry is told from a mistake. */
export function nameOf(
  requestId: string | undefined,
  caller: Caller,
  method: string,
  params: unknown,
): { readonly requestKey?: string; readonly fingerprint?: string } {
  if (requestId === undefined) return {};
  const fingerprint = createHash('sha256').update(`${method}\0`).update(JSON.stringify(params)).digest('base64url');
  return { requestKey: `${caller.tokenId} ${requestId}`, fingerprint: fingerprint.slice(0, 22) };
}

function sizeOf(writes: readonly Write[]): number {
  let bytes = 0;
  for (const write of writes) {
    bytes += 256 + write.key.length;
    if (write.op === 'put') bytes += write.json?.length ?? write.bytes?.length ?? 0;
    else if (write.op === 'set-add' || write.op === 'set-remove')
      for (const member of write.members) bytes += member.length;
  }
  return bytes;
}
