import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** RocksDB writes its manifest as a log: records in blocks of this size, none of which crosses a block's end. */
const blockBytes = 32_768;
/** Checksum (4), length (2, least byte first), type (1). */
const headerBytes = 7;
/** Whole, first, middle and last part of a record. */
const typesOfManifests = [1, 2, 3, 4];

/**
 * Looks at the types of a manifest's records. One flipped bit makes a record seem one of a recycled log, which manifests
 * never hold; the library takes that for the end of the file and then never finishes opening. Everything else that is
 * damaged in a manifest it tells by itself.
 *
 * @returns where a record of another type stands, in bytes from the start; undefined where there is none
 * @see https://github.com/facebook/rocksdb/wiki/Write-Ahead-Log-File-Format
 */
export async function strangeRecordAt(directory: string): Promise<number | undefined> {
  const name = (await readFile(join(directory, 'CURRENT'), 'latin1')).trim();
  if (!/^MANIFEST-\d+$/.test(name)) return undefined;
  const bytes = await readFile(join(directory, name)).catch(() => Buffer.alloc(0));
  for (let at = 0; at + headerBytes <= bytes.length; ) {
    const left = blockBytes - (at % blockBytes);
    if (left < headerBytes) {
      at += left;
      continue;
    }
    const length = bytes.readUInt16LE(at + 4);
    const type = bytes[at + 6]!;
    // Room reserved ahead is zeros.
    if (type === 0 && length === 0) return undefined;
    if (!typesOfManifests.includes(type)) return at;
    at += headerBytes + length;
  }
  return undefined;
}
