import { mkdir, open, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';

/** Files on their way to or from a client, in pieces small enough for one request. */
export interface Transfers {
  /** A name below the folder for a file to be sent; `send` takes it from there. */
  place(): string;
  /** Registers a finished file for sending. @returns its id */
  offer(file: string): string;
  /** The next piece of a file that was offered; `next` where there is more. The file goes with its last piece. */
  send(cursor: string): Promise<{ readonly data: string; readonly next?: string }>;
  /** Appends a piece to an upload, begun where `id` is undefined. @throws IpeError `too_large`, `not_found` */
  receive(id: string | undefined, data: Uint8Array): Promise<string>;
  /** The finished file of an upload, for the time of `use`. */
  finish<Result>(id: string, use: (file: string) => Promise<Result>): Promise<Result>;
}

export interface TransferOptions {
  /** Folder of its own: emptied at the start. */
  readonly directory: string;
  readonly newId: () => string;
  /** Unix milliseconds. */
  readonly clock: () => number;
  /** Bytes of one piece sent; default 4 MiB. */
  readonly pieceBytes?: number;
  /** Largest upload; default 4 GiB. */
  readonly uploadMaxBytes?: number;
}

/** Transfers that nobody continued for so long are dropped. */
const idleMs = 600_000;
/** Transfers at a time. */
const transfersMax = 16;

interface Transfer {
  readonly file: string;
  readonly kind: 'sending' | 'receiving';
  sizeBytes: number;
  usedMs: number;
  busy: boolean;
}

export async function openTransfers(options: TransferOptions): Promise<Transfers> {
  const { directory, newId, clock, pieceBytes = 4 * 1024 * 1024, uploadMaxBytes = 4 * 1024 ** 3 } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const name of await readdir(directory)) await rm(join(directory, name), { recursive: true, force: true });
  const transfers = new Map<string, Transfer>();

  const drop = async (id: string): Promise<void> => {
    const transfer = transfers.get(id);
    transfers.delete(id);
    if (transfer !== undefined) await rm(transfer.file, { force: true });
  };

  const sweep = async (): Promise<void> => {
    for (const [id, { usedMs, busy }] of transfers) if (!busy && clock() - usedMs > idleMs) await drop(id);
  };

  const add = (transfer: Omit<Transfer, 'usedMs' | 'busy'>): string => {
    if (transfers.size >= transfersMax)
      throw new IpeError('unavailable', `${transfersMax} backups are being transferred already; try again later`);
    const id = newId();
    transfers.set(id, { ...transfer, usedMs: clock(), busy: false });
    return id;
  };

  /** One request at a time for a transfer: pieces have an order. */
  const using = async <Result>(id: string, kind: Transfer['kind'], use: (transfer: Transfer) => Promise<Result>) => {
    const transfer = transfers.get(id);
    if (transfer === undefined || transfer.kind !== kind)
      throw new IpeError(
        'not_found',
        `no transfer \`${id.slice(0, 64)}\`; it may have been dropped after ${idleMs / 60_000} idle minutes`,
      );
    if (transfer.busy) throw new IpeError('unavailable', 'another piece of this transfer is under way');
    transfer.busy = true;
    try {
      return await use(transfer);
    } finally {
      transfer.busy = false;
      transfer.usedMs = clock();
    }
  };

  return {
    place: () => join(directory, newId()),
    offer: (file) => add({ file, kind: 'sending', sizeBytes: 0 }),
    async send(cursor) {
      await sweep();
      const match = /^(.+)\.(\d{1,15})$/.exec(cursor);
      if (match === null)
        throw new IpeError('invalid_params', '`cursor` is not one that `backup` gave', {
          details: { field: 'cursor' },
        });
      const [id, at] = [match[1]!, Number(match[2])];
      const piece = await using(id, 'sending', async ({ file }) => {
        const handle = await open(file, 'r');
        try {
          const { size } = await handle.stat();
          const buffer = Buffer.alloc(Math.max(0, Math.min(pieceBytes, size - at)));
          const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
          const end = at + bytesRead;
          return {
            data: buffer.subarray(0, bytesRead).toString('base64'),
            ...(end < size && { next: `${id}.${end}` }),
          };
        } finally {
          await handle.close();
        }
      });
      if (piece.next === undefined) await drop(id);
      return piece;
    },
    async receive(known, data) {
      await sweep();
      const id = known ?? add({ file: join(directory, newId()), kind: 'receiving', sizeBytes: 0 });
      await using(id, 'receiving', async (transfer) => {
        if (transfer.sizeBytes + data.length > uploadMaxBytes)
          throw new IpeError('too_large', `a backup may have ${uploadMaxBytes} bytes`, {
            details: { max_bytes: uploadMaxBytes },
          });
        const handle = await open(transfer.file, 'a', 0o600);
        try {
          await handle.appendFile(data);
        } finally {
          await handle.close();
        }
        transfer.sizeBytes = (await stat(transfer.file)).size;
      });
      return id;
    },
    async finish(id, use) {
      try {
        return await using(id, 'receiving', ({ file }) => use(file));
      } finally {
        await drop(id);
      }
    },
  };
}
