import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { IpeError } from '@ipe/core';

const block = 512;

/**
 * Appends the files below `directory` to an archive in the ustar format (POSIX.1-1988), in name order, owned by nobody
 * and dated `timeMs`: the same content makes the same archive.
 */
export async function writeTar(file: FileHandle, directory: string, timeMs: number): Promise<void> {
  for (const entry of await listFiles(directory, '')) {
    const { size } = entry.isDirectory ? { size: 0 } : await stat(join(directory, entry.name));
    await file.appendFile(
      tarHeader(entry.isDirectory ? `${entry.name}/` : entry.name, size, entry.isDirectory, timeMs),
    );
    if (entry.isDirectory) continue;
    for await (const chunk of createReadStream(join(directory, entry.name))) await file.appendFile(chunk as Buffer);
    await file.appendFile(Buffer.alloc((block - (size % block)) % block));
  }
  await file.appendFile(Buffer.alloc(2 * block));
}

async function listFiles(directory: string, prefix: string): Promise<{ name: string; isDirectory: boolean }[]> {
  const found: { name: string; isDirectory: boolean }[] = [];
  const entries = await readdir(join(directory, prefix), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
    found.push({ name, isDirectory: entry.isDirectory() });
    if (entry.isDirectory()) found.push(...(await listFiles(directory, name)));
  }
  return found;
}

function tarHeader(name: string, size: number, isDirectory: boolean, timeMs: number): Buffer {
  if (Buffer.byteLength(name) > 100) throw new Error(`\`${name}\` is too long for the archive`);
  const header = Buffer.alloc(block);
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, '0');
  header.write(name, 0);
  header.write(`${octal(isDirectory ? 0o755 : 0o644, 7)}\0`, 100);
  header.write(`${octal(0, 7)}\0${octal(0, 7)}\0`, 108);
  header.write(`${octal(size, 11)}\0${octal(Math.floor(timeMs / 1000), 11)}\0`, 124);
  header.write('        ', 148);
  header.write(isDirectory ? '5' : '0', 156);
  header.write('ustar\x0000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 6)}\0 `, 148);
  return header;
}

/** Tells an archive by its first block. */
export function isTar(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(257, 262)).toString('latin1') === 'ustar';
}

/**
 * Unpacks an archive of plain files and directories below `directory`. Names that would lead elsewhere are refused.
 * @throws IpeError `corrupt` for an archive that is damaged or cut short
 */
export async function readTar(archive: string, directory: string): Promise<void> {
  const file = await open(archive, 'r');
  try {
    for (let at = 0; ; ) {
      const header = await readExactly(file, at, block);
      if (header.every((byte) => byte === 0)) return;
      const { name, size, isDirectory } = parseHeader(header);
      at += block;
      const target = join(directory, name);
      if (isDirectory) await mkdir(target, { recursive: true });
      else {
        await mkdir(dirname(target), { recursive: true });
        const out = await open(target, 'wx');
        try {
          for (let done = 0; done < size; ) {
            const part = await readExactly(file, at + done, Math.min(size - done, 1 << 20));
            await out.appendFile(part);
            done += part.length;
          }
        } finally {
          await out.close();
        }
      }
      at += Math.ceil(size / block) * block;
    }
  } finally {
    await file.close();
  }
}

function parseHeader(header: Buffer): { name: string; size: number; isDirectory: boolean } {
  const text = (from: number, to: number): string => header.toString('latin1', from, to).replace(/\0.*$/s, '').trim();
  const sum = Number.parseInt(text(148, 156), 8);
  const blank = Buffer.from(header);
  blank.fill(' ', 148, 156);
  if (!isTar(header) || blank.reduce((total, byte) => total + byte, 0) !== sum) throw damagedTar('a header is damaged');
  const name = text(0, 100);
  const size = Number.parseInt(text(124, 136), 8);
  const kind = text(156, 157);
  const unsafe = name.startsWith('/') || name.split('/').includes('..') || text(345, 500) !== '';
  if (unsafe || !Number.isSafeInteger(size) || (kind !== '0' && kind !== '5')) {
    throw damagedTar(`the entry \`${name}\` is not one of a backup`);
  }
  return { name, size, isDirectory: kind === '5' };
}

async function readExactly(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
  if (bytesRead < length) throw damagedTar('it is cut short');
  return buffer;
}

function damagedTar(why: string): IpeError {
  return new IpeError('corrupt', `the archive is damaged: ${why}`);
}
