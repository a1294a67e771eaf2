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
 * Keys and values are copied at the call.
 */
export async function writeAtomically(
  sessions: ReadonlyMap<string, RocksDB>,
  operations: readonly KvOperation[],
): Promise<void> {
  const first = sessions.get(operations[0]!.family)!;
  const batch = first.write({ capacity: operations.length });
  const pack = packer(operations);
  try {
    for (const operation of operations) {
      batch._db = sessions.get(operation.family)!;
      if (operation.type === 'put') batch.tryPut(pack(operation.key), pack(operation.value));
      else batch.tryDelete(pack(operation.key));
    }
    // The session that counted the batch in is the one to count it out.
    batch._db = first;
    await batch.flush();
  } finally {
    batch._db = first;
    batch.destroy();
  }
}

/**
 * Copies the batch into one piece of memory. The library asks for the address of every array, and an engine has to move
 * a small array out of its heap first, each by an allocation of its own: that costs more than the copy.
 */
function packer(operations: readonly KvOperation[]): (bytes: Uint8Array) => Uint8Array {
  let size = 0;
  for (const operation of operations)
    size += operation.key.length + (operation.type === 'put' ? operation.value.length : 0);
  const memory = Buffer.allocUnsafeSlow(size);
  let at = 0;
  return (bytes) => {
    const packed = memory.subarray(at, at + bytes.length);
    packed.set(bytes);
    at += bytes.length;
    return packed;
  };
}
