import type { LogRecord } from '../record.ts';
import type { Version } from '../state.ts';

/** What is told of a write to a key that was purged since: whatever was written, nothing of it is left. */
export function purgedBy({ source, seq, ms, count, operations }: LogRecord, idx: number): Version {
  return {
    kind: 'version',
    source,
    seq,
    idx,
    ms,
    count,
    version: operations[idx]!.version,
    createdMs: ms,
    expiresMs: 0,
    json: undefined,
    bytes: undefined,
    isConditional: false,
  };
}
