import { ByteReader, ByteWriter, malformed } from './codec.ts';
import type { Sources } from './dot.ts';
import type { LogRecord, MemberChange, Operation } from './record.ts';
import { readContext, readStamp, writeContext, writeStamp } from './state-codec.ts';

const format = 1;
const operationCodes = { put: 0, delete: 1, add: 2, reset: 3, members: 4 } as const;

/** Largest encoded record (DESIGN §4). */
export const recordBytesMax = 4 * 1024 * 1024;

/** Canonical bytes of a record: what the log holds, what is signed, sent and relayed. */
export function encodeRecord(record: LogRecord, out = new ByteWriter(1024)): Uint8Array {
  out.u8(format);
  out.text(record.namespace);
  out.source(record.source);
  out.uint(record.seq);
  out.u48(record.ms);
  out.u16(record.count);
  out.uint(record.operations.length);
  const prefix = record.namespace.length + 1;
  for (const operation of record.operations) writeOperation(out, operation, record.ms, prefix);
  return out.take();
}

/** @throws IpeError `corrupt` for anything that `encodeRecord` does not write. */
export function decodeRecord(bytes: Uint8Array, sources: Sources): LogRecord {
  const input = new ByteReader(bytes, sources);
  if (input.u8() !== format) throw malformed('an unknown record format');
  const namespace = input.text();
  const source = input.source();
  const seq = input.uint();
  const ms = input.u48();
  const count = input.u16();
  const operations: Operation[] = [];
  for (let left = input.count(); left > 0; left--) operations.push(readOperation(input, ms, `${namespace}.`));
  input.end();
  return { namespace, source, seq, ms, count, operations };
}

const putFlags = { json: 1, expires: 2, createdBefore: 4, context: 8, conditional: 16, over: 32 } as const;

function writeOperation(out: ByteWriter, operation: Operation, ms: number, prefix: number): void {
  out.u8(operationCodes[operation.op]);
  out.text(operation.key.slice(prefix));
  out.uint(operation.version);
  switch (operation.op) {
    case 'put':
    case 'delete': {
      const json = operation.op === 'put' ? operation.json : undefined;
      const expiresMs = operation.op === 'put' ? operation.expiresMs : 0;
      const createdBefore = operation.createdMs !== ms;
      out.u8(
        (json !== undefined ? putFlags.json : 0) |
          (expiresMs !== 0 ? putFlags.expires : 0) |
          (createdBefore ? putFlags.createdBefore : 0) |
          (operation.context !== undefined ? putFlags.context : 0) |
          (operation.isConditional ? putFlags.conditional : 0) |
          (operation.over !== undefined ? putFlags.over : 0),
      );
      if (expiresMs !== 0) out.u48(expiresMs);
      if (createdBefore) out.u48(operation.createdMs);
      if (operation.context !== undefined) writeContext(out, operation.context);
      if (operation.over !== undefined) out.u32(operation.over);
      if (json !== undefined) out.text(json);
      else if (operation.op === 'put') out.framed(operation.bytes ?? new Uint8Array());
      return;
    }
    case 'add':
      out.u48(operation.createdMs);
      out.u8((operation.reset !== undefined ? 1 : 0) | (operation.windowMs !== 0 ? 2 : 0));
      if (operation.reset !== undefined) writeStamp(out, operation.reset);
      if (operation.windowMs !== 0) {
        out.u48(operation.windowStartMs);
        out.uint(operation.windowMs);
      }
      out.uint(operation.plus);
      out.uint(operation.minus);
      return;
    case 'reset':
      return;
    case 'members':
      out.u48(operation.createdMs);
      out.uint(operation.changes.length);
      for (const change of operation.changes) {
        out.text(change.member);
        out.u8(change.present ? 1 : 0);
        writeContext(out, change.context);
      }
  }
}

function readOperation(input: ByteReader, ms: number, prefix: string): Operation {
  const code = input.u8();
  const key = prefix + input.text();
  const version = input.uint();
  switch (code) {
    case operationCodes.put:
    case operationCodes.delete: {
      const isPut = code === operationCodes.put;
      const bits = input.u8();
      if (bits > 63 || (!isPut && bits & 3)) throw malformed('unknown flags');
      const expiresMs = bits & putFlags.expires ? input.u48() : 0;
      const createdMs = bits & putFlags.createdBefore ? input.u48() : ms;
      if ((bits & putFlags.createdBefore && createdMs === ms) || (bits & putFlags.expires && expiresMs === 0))
        throw malformed('a default written out');
      const context = bits & putFlags.context ? readContext(input) : undefined;
      const over = bits & putFlags.over ? input.u32() : undefined;
      const isConditional = (bits & putFlags.conditional) !== 0;
      if (!isPut) return { op: 'delete', key, version, createdMs, context, over, isConditional };
      const json = bits & putFlags.json ? input.text() : undefined;
      const bytes = json === undefined ? input.framed() : undefined;
      return { op: 'put', key, version, createdMs, expiresMs, json, bytes, context, over, isConditional };
    }
    case operationCodes.add: {
      const createdMs = input.u48();
      const bits = input.u8();
      if (bits > 3) throw malformed('unknown flags');
      const reset = bits & 1 ? readStamp(input) : undefined;
      const windowStartMs = bits & 2 ? input.u48() : 0;
      const windowMs = bits & 2 ? input.uint() : 0;
      if (bits & 2 && windowMs === 0) throw malformed('a window without length');
      return {
        op: 'add',
        key,
        version,
        createdMs,
        reset,
        windowStartMs,
        windowMs,
        plus: input.uint(),
        minus: input.uint(),
      };
    }
    case operationCodes.reset:
      return { op: 'reset', key, version };
    case operationCodes.members: {
      const createdMs = input.u48();
      const changes: MemberChange[] = [];
      for (let left = input.count(); left > 0; left--) {
        const member = input.text();
        const present = input.u8();
        if (present > 1) throw malformed('unknown flags');
        if (changes.length > 0 && changes.at(-1)!.member >= member) throw malformed('a list out of order');
        changes.push({ member, present: present === 1, context: readContext(input) });
      }
      return { op: 'members', key, version, createdMs, changes };
    }
    default:
      throw malformed('an unknown operation');
  }
}
