import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { crc32, deflateSync } from 'node:zlib';
import { fromHex } from '@ipe/core/bytes';
import { packEntryHeader, packHeader } from '@ipe/core/git';
import type { TransferObject } from '@ipe/core/tree';

/** Where an entry of a pack is, for the index. */
interface PackedEntry {
  readonly id: Uint8Array;
  readonly crc: number;
  readonly offset: number;
}

/** A pack just written. */
export interface WrittenPack {
  /** SHA-256 of the pack's bytes, its last 32. */
  readonly checksum: Uint8Array;
  readonly entries: readonly PackedEntry[];
  readonly sizeBytes: number;
}

const bufferBytes = 256 * 1024;

/**
 * Appends a pack to a file as it stands: whole objects, no deltas. Offsets count from where the pack begins.
 * @param count  how many objects will come: it stands at the beginning of a pack
 */
export async function writePack(
  file: FileHandle,
  count: number,
  objects: AsyncIterable<TransferObject & { readonly id: string }>,
): Promise<WrittenPack> {
  const digest = createHash('sha256');
  const entries: PackedEntry[] = [];
  let waiting: Uint8Array[] = [];
  let waitingBytes = 0;
  let sizeBytes = 0;
  const append = (bytes: Uint8Array): void => {
    digest.update(bytes);
    waiting.push(bytes);
    waitingBytes += bytes.length;
    sizeBytes += bytes.length;
  };
  const flush = async (): Promise<void> => {
    await file.appendFile(Buffer.concat(waiting));
    waiting = [];
    waitingBytes = 0;
  };
  append(packHeader(count));
  for await (const { id, type, body } of objects) {
    const offset = sizeBytes;
    const header = packEntryHeader(type, body.length);
    const data = deflateSync(body);
    append(header);
    append(data);
    entries.push({ id: fromHex(id), crc: crc32(data, crc32(header)), offset });
    if (waitingBytes >= bufferBytes) await flush();
  }
  if (entries.length !== count) throw new Error(`a pack of ${count} objects got ${entries.length}`);
  const checksum = new Uint8Array(digest.digest());
  waiting.push(checksum);
  await flush();
  return { checksum, entries, sizeBytes: sizeBytes + checksum.length };
}

/** The index of a pack, version 2. Source: gitformat-pack, "pack-*.idx files". */
export function packIndex(pack: WrittenPack): Uint8Array {
  const entries = [...pack.entries].sort((a, b) => Buffer.compare(a.id, b.id));
  const large = entries.filter((entry) => entry.offset >= 0x80000000);
  const head = 8 + 256 * 4;
  const bytes = Buffer.alloc(head + entries.length * (32 + 4 + 4) + large.length * 8 + 2 * 32);
  bytes.writeUInt32BE(0xff744f63, 0);
  bytes.writeUInt32BE(2, 4);
  const counts = new Uint32Array(256);
  for (const { id } of entries) for (let first = id[0]!; first < 256; first++) counts[first]!++;
  for (let i = 0; i < 256; i++) bytes.writeUInt32BE(counts[i]!, 8 + 4 * i);
  const crcs = head + 32 * entries.length;
  const offsets = crcs + 4 * entries.length;
  const larges = offsets + 4 * entries.length;
  let nextLarge = 0;
  entries.forEach(({ id, crc, offset }, i) => {
    bytes.set(id, head + 32 * i);
    bytes.writeUInt32BE(crc, crcs + 4 * i);
    if (offset < 0x80000000) bytes.writeUInt32BE(offset, offsets + 4 * i);
    else {
      bytes.writeUInt32BE((0x80000000 | nextLarge) >>> 0, offsets + 4 * i);
      bytes.writeBigUInt64BE(BigInt(offset), larges + 8 * nextLarge++);
    }
  });
  const trailer = larges + 8 * large.length;
  bytes.set(pack.checksum, trailer);
  bytes.set(
    createHash('sha256')
      .update(bytes.subarray(0, trailer + 32))
      .digest(),
    trailer + 32,
  );
  return bytes;
}
