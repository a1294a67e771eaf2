import { setImmediate } from 'node:timers/promises';
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
 * Keys and values must stay as they are until it has ended.
 */
export async function writeAtomically(
  sessions: ReadonlyMap<string, RocksDB>,
  operations: readonly KvOperation[],
): Promise<void> {
  const first = sessions.get(operations[0]!.family)!;
  const batch = first.write({ capacity: operations.length });
  const pack = packer(operations);
  let added = 0;
  try {
    for (const operation of operations) {
      // Ten thousand take tens of milliseconds.
      if (++added % 2048 === 0) await setImmediate();
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
 * Gives the library memory that it can take the address of. An engine keeps small arrays among its objects and has to
 * move each out first, by an allocation of its own: they are copied into one piece of memory, which costs less. Larger
 * ones are outside already and go as they are; whoever writes leaves them alone until the write has ended.
 */
function packer(operations: readonly KvOperation[]): (bytes: Uint8Array) => Uint8Array {
  let size = 0;
  for (const operation of operations)
    size += packedBytes(operation.key) + (operation.type === 'put' ? packedBytes(operation.value) : 0);
  const memory = new Uint8Array(Math.max(size, movedBytesMax + 1));
  const { buffer } = memory;
  let at = 0;
  return (bytes) => {
    if (packedBytes(bytes) === 0) return bytes;
    memory.set(bytes, at);
    const packed = new Uint8Array(buffer, at, bytes.length);
    at += bytes.length;
    return packed;
  };
}

/** Arrays beyond this size are never among an engine's objects. */
const movedBytesMax = 64;

const packedBytes = (bytes: Uint8Array) => (bytes.length <= movedBytesMax ? bytes.length : 0);
