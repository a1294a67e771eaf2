import type { LogRecord, Operation } from '@ipe/core/replica';

/** A write of a returned member that waits for an operator: as a fact under `_sys.parked`, so that all members list it. */
export interface ParkedWrite {
  /** `<namespace>:<origin>:<epoch>:<seq>:<place>` of the write as it was made. */
  readonly id: string;
  readonly key: string;
  readonly op: 'put' | 'add' | 'set-add';
  /** When it was made, hybrid milliseconds. */
  readonly writtenMs: number;
  /** When its value expires; 0: never. */
  readonly expiresMs: number;
  readonly json?: string;
  readonly base64?: string;
  readonly amount?: number;
  readonly windowMs?: number;
  readonly members?: readonly string[];
}

export const parkedPrefix = '_sys.parked.';

export const parkedKey = (id: string) => parkedPrefix + id;

/**
 * What is kept of parked operations of these records. Operations of counters carry totals; what is kept is what each
 * added.
 */
export function parkedOf(
  records: readonly LogRecord[],
): (record: LogRecord, idx: number, operation: Operation) => ParkedWrite {
  const before = totalsBefore(records);
  return (record, idx, operation) => {
    const { namespace, source, seq, ms } = record;
    const id = `${namespace}:${source.id}:${seq}:${idx}`;
    const base = { id, key: operation.key, writtenMs: ms, expiresMs: 0 };
    switch (operation.op) {
      case 'add': {
        const amount = operation.plus - operation.minus - (before.get(`${source.id}/${seq}/${idx}`) ?? 0);
        return { ...base, op: 'add', amount, windowMs: operation.windowMs };
      }
      case 'members':
        return { ...base, op: 'set-add', members: operation.changes.map(({ member }) => member) };
      case 'put': {
        const { json, bytes, expiresMs } = operation;
        const value = json === undefined ? { base64: Buffer.from(bytes ?? []).toString('base64') } : { json };
        return { ...base, op: 'put', expiresMs, ...value };
      }
      default:
        throw new TypeError(`a revocation is never parked: ${operation.op}`);
    }
  };
}

/** By place of an operation that adds: the total of its counter before. */
function totalsBefore(records: readonly LogRecord[]): ReadonlyMap<string, number> {
  const totals = new Map<string, number>();
  const before = new Map<string, number>();
  for (const { source, seq, operations } of records)
    for (const [idx, operation] of operations.entries()) {
      if (operation.op !== 'add') continue;
      const counter = `${source.id}/${operation.key}/${operation.windowStartMs}`;
      before.set(`${source.id}/${seq}/${idx}`, totals.get(counter) ?? 0);
      totals.set(counter, operation.plus - operation.minus);
    }
  return before;
}
