import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { IpeError } from '@ipe/core';

/**
 * How far a store is known to have come, kept outside of it.
 *
 * A write-ahead log that was deleted or cut at a record's end opens without complaint in every recovery mode; only
 * something that is not part of the store can tell that commits are missing. The mark is a number that grows with each
 * durable commit. It may lag behind the store, never lead it: advance it after the sync, not before.
 */
export interface Mark {
  /** The file it is kept in. Removing it while the store is closed accepts whatever the store holds. */
  readonly path: string;

  /** The number found at open; undefined when there was no mark. */
  readonly found: number | undefined;

  /**
   * Raises the mark; lower numbers are ignored. Costs no waiting: numbers that come within a tenth of a second of the
   * one written last are joined, since a write for each commit would cost as much as another sync. Survives a crash of
   * the process after that time, and a power cut after at most a second, which is enough, as a mark that lags only asks
   * less of the store.
   */
  advance(number: number): void;

  /** Sets the mark to `number`, even below the present one, durably: after a restore, or when a loss was accepted. */
  reset(number: number): Promise<void>;

  /** Writes what is outstanding, durably, and releases the file. Idempotent. */
  close(): Promise<void>;
}

export interface MarkOptions {
  /** Milliseconds from one write of the mark to the next, default 100. */
  readonly writeIntervalMs?: number;
  /** Milliseconds between syncs of the mark itself, default 1000. */
  readonly syncIntervalMs?: number;
  /** Told once when the mark cannot be written any more; the store is not affected, only the next start's check. */
  readonly onError?: (error: unknown) => void;
}

/**
 * Opens the mark in the file at `path`, made when absent. One store, one mark, one process.
 * @throws IpeError `corrupt` when the file is there and neither of its slots is whole.
 */
export async function openMark(path: string, options: MarkOptions = {}): Promise<Mark> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file = await open(path, 'r+').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return open(path, 'wx+', 0o600);
    throw error;
  });
  try {
    const slots = await readSlots(file, path);
    return new FileMark(path, file, slots, options);
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Holds a store that just opened to its mark.
 * @param last the newest commit in the store, 0 when it has none
 * @throws IpeError `corrupt` naming how many commits are missing
 */
export function assertReaches(mark: Pick<Mark, 'found' | 'path'>, last: number, store: string): void {
  if (mark.found === undefined || last >= mark.found) return;
  const missing = mark.found - last;
  throw new IpeError(
    'corrupt',
    `the ${store} ends at commit ${last}, but commit ${mark.found} was made durable: ${missing} commit(s) are missing; restore a backup, or accept the loss by removing \`${mark.path}\``,
    { details: { store, last, expected: mark.found, missing } },
  );
}

/** Two slots written in turn: a torn write leaves the other one. `IPEMARK1`, turn, number (u64 BE each), CRC-32. */
const slotBytes = 32;
const magic = Buffer.from('IPEMARK1');

interface Slot {
  readonly turn: bigint;
  readonly number: number;
}

async function readSlots(file: FileHandle, path: string): Promise<Slot | undefined> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(2 * slotBytes), 0, 2 * slotBytes, 0);
  if (bytesRead === 0) return undefined;
  const slots = [0, slotBytes]
    .map((at) => decodeSlot(buffer.subarray(at, at + slotBytes)))
    .filter((slot) => slot !== undefined)
    .sort((a, b) => (a.turn < b.turn ? -1 : 1));
  const newest = slots.at(-1);
  // A first slot that was never finished is a mark that was never set.
  if (newest === undefined && bytesRead >= slotBytes)
    throw new IpeError('corrupt', `the mark in \`${path}\` is damaged; remove the file to start without its check`);
  return newest;
}

function decodeSlot(bytes: Buffer): Slot | undefined {
  if (!bytes.subarray(0, 8).equals(magic) || bytes.readUInt32BE(24) !== crc32(bytes.subarray(0, 24))) return undefined;
  return { turn: bytes.readBigUInt64BE(8), number: Number(bytes.readBigUInt64BE(16)) };
}

function encodeSlot(slot: Slot): Buffer {
  const bytes = Buffer.alloc(slotBytes);
  magic.copy(bytes);
  bytes.writeBigUInt64BE(slot.turn, 8);
  bytes.writeBigUInt64BE(BigInt(slot.number), 16);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 24)), 24);
  return bytes;
}

class FileMark implements Mark {
  readonly path: string;
  readonly found: number | undefined;
  readonly #file: FileHandle;
  readonly #writeIntervalMs: number;
  readonly #syncIntervalMs: number;
  readonly #onError: (error: unknown) => void;
  #turn: bigint;
  /** The number that should be in the file. */
  #number: number;
  #written: number;
  #writing: Promise<void> | undefined;
  /** When the last write was begun. */
  #begunMs = Number.NEGATIVE_INFINITY;
  #writeTimer: NodeJS.Timeout | undefined;
  #syncTimer: NodeJS.Timeout | undefined;
  #failed = false;
  #closed: Promise<void> | undefined;

  constructor(
    path: string,
    file: FileHandle,
    slot: Slot | undefined,
    { writeIntervalMs = 100, syncIntervalMs = 1000, onError = () => {} }: MarkOptions,
  ) {
    this.path = path;
    this.found = slot?.number;
    this.#file = file;
    this.#turn = slot?.turn ?? 0n;
    this.#number = slot?.number ?? 0;
    this.#written = slot?.number ?? -1;
    this.#writeIntervalMs = writeIntervalMs;
    this.#syncIntervalMs = syncIntervalMs;
    this.#onError = onError;
  }

  advance(number: number): void {
    if (this.#closed !== undefined || number <= this.#number) return;
    this.#number = number;
    this.#schedule();
    this.#syncTimer ??= setTimeout(() => {
      this.#syncTimer = undefined;
      this.#file.datasync().catch((error) => this.#fail(error));
    }, this.#syncIntervalMs).unref();
  }

  async reset(number: number): Promise<void> {
    await this.#writing;
    this.#number = number;
    // Both slots: a torn write later on must not bring the old number back.
    for (let i = 0; i < 2; i++) await this.#write(number);
    await this.#file.datasync();
  }

  close(): Promise<void> {
    this.#closed ??= this.#release();
    return this.#closed;
  }

  async #release(): Promise<void> {
    clearTimeout(this.#writeTimer);
    clearTimeout(this.#syncTimer);
    await this.#writing;
    try {
      if (this.#written !== this.#number) await this.#write(this.#number);
      await this.#file.datasync();
    } catch (error) {
      this.#fail(error);
    }
    await this.#file.close();
  }

  /** Writes now, or as soon as the write before is done and long enough ago. */
  #schedule(): void {
    if (this.#writing !== undefined || this.#writeTimer !== undefined) return;
    const restMs = this.#begunMs + this.#writeIntervalMs - performance.now();
    if (restMs <= 0) {
      this.#writeNewest();
      return;
    }
    this.#writeTimer = setTimeout(() => {
      this.#writeTimer = undefined;
      this.#writeNewest();
    }, restMs).unref();
  }

  #writeNewest(): void {
    const number = this.#number;
    this.#begunMs = performance.now();
    this.#writing = this.#write(number)
      .catch((error) => this.#fail(error))
      .finally(() => {
        this.#writing = undefined;
        if (this.#number !== number && this.#closed === undefined) this.#schedule();
      });
  }

  async #write(number: number): Promise<void> {
    this.#turn++;
    const at = Number(this.#turn % 2n) * slotBytes;
    await this.#file.write(encodeSlot({ turn: this.#turn, number }), 0, slotBytes, at);
    this.#written = number;
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#onError(error);
  }
}
