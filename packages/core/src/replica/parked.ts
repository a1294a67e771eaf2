import { encodeBase64 } from '../bytes/base64.ts';
import type { LogRecord, Operation } from './record.ts';

/**
 * A write of a returned member that waits for an operator (design 0013, return): the value of a fact under
 * `_sys.parked`, so that all members list it.
 */
export interface ParkedWrite {
  /** `<namespace>:<origin>:<epoch>:<seq>:<place>` of the write as it was made. */
  readonly id: string;
  readonly key: string;
  readonly op: 'put' | 'add' | 'set-add';
  /** When it was made, hybrid milliseconds. */
  readonly writtenMs: number;
  /** When its value expires; 0: never. */
  readonly expiresMs: number;
  /** Of a put: JSON text, or else bytes. */
  readonly json?: string;
  readonly base64?: string;
  /** Of an add: what it added. */
  readonly amount?: number;
  readonly windowMs?: number;
  /** Of a set: canonical JSON texts. */
  readonly members?: readonly string[];
}

/** Where parked writes are kept: IPE's own namespace, in which the latest value counts. */
export const parkedNamespace = '_sys';
export const parkedPrefix = `${parkedNamespace}.parked.`;

export const parkedKey = (id: string) => parkedPrefix + id;

/** Names an operation of a record among all that may be parked. */
export const parkedId = ({ namespace, source, seq }: LogRecord, idx: number) =>
  `${namespace}:${source.id}:${seq}:${idx}`;

/**
 * What is kept of a parked operation.
 * @param record the record that it was offered from
 * @param idx its place there
 * @param operation `Offered.parked`
 */
export function parkedWrite(record: LogRecord, idx: number, operation: Operation): ParkedWrite {
  const base = { id: parkedId(record, idx), key: operation.key, writtenMs: record.ms, expiresMs: 0 };
  switch (operation.op) {
    case 'add':
      return { ...base, op: 'add', amount: operation.plus - operation.minus, windowMs: operation.windowMs };
    case 'members':
      return { ...base, op: 'set-add', members: operation.changes.map(({ member }) => member) };
    case 'put': {
      const { json, bytes, expiresMs } = operation;
      const value = json === undefined ? { base64: encodeBase64(bytes ?? new Uint8Array()) } : { json };
      return { ...base, op: 'put', expiresMs, ...value };
    }
    default:
      throw new TypeError(`a revocation is never parked: ${operation.op}`);
  }
}
