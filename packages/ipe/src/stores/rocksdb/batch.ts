import type { KvOperation } from '@ipe/core/store';
import type RocksDB from 'rocksdb-native';

/**
 * Writes operations on any families as one atomic batch.
 *
 * rocksdb-native makes a batch for one family, but each of its native operations carries its own family, taken from
 * the batch's session when the operation is added. Pointing the private `_db` at another family's session between
 * operations therefore gives one write batch, one log record, over all of them. `test/kv-faults.test.ts` kills processes
 * in the middle of such batches and compares the families; rocksdb-native is pinned because of this file.
 *
 * Keys and values must stay unchanged until the promise settles.
 */
export async function writeAtomically(
  sessions: ReadonlyMap<string, RocksDB>,
  operations: readonly KvOperation[],
): Promise<void> {
  const first = sessions.get(operations[0]!.family)!;
  const batch = first.write({ capacity: operations.length });
  try {
    for (const operation of operations) {
      batch._db = sessions.get(operation.family)!;
      if (operation.type === 'put') batch.tryPut(operation.key, operation.value);
      else batch.tryDelete(operation.key);
    }
    // The session that counted the batch in is the one to count it out.
    batch._db = first;
    await batch.flush();
  } finally {
    batch._db = first;
    batch.destroy();
  }
}
