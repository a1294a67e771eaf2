import { stateOf } from '../join.ts';
import type { LogRecord } from '../record.ts';
import type { Version } from '../state.ts';

/** What is told of a write to a key that was purged since: whatever was written, nothing of it is left. */
export function purgedBy(record: LogRecord, idx: number): Version {
  const { key, version } = record.operations[idx]!;
  const deletion = {
    op: 'delete',
    key,
    version,
    createdMs: record.ms,
    context: undefined,
    over: undefined,
    isConditional: false,
  } as const;
  const operations = record.operations.with(idx, deletion);
  return stateOf({ ...record, operations }, idx, false) as Version;
}
