import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import type { ControlPlane } from '@ipe/client';
import type { BackupPiece, RestoredBackup } from '@ipe/client/protocol';

/** Bytes of a backup sent in one request. */
const pieceBytes = 8 * 1024 * 1024;

/** What a first piece says of the whole. */
type About = Required<Omit<BackupPiece, 'data' | 'next'>>;

/**
 * Fetches a backup piece by piece into a file, which appears under its name when it is whole.
 *
 * @param since a commit of the tree: then an incremental backup (a Git bundle) of what came after; else a full one (tar)
 */
export async function downloadBackup(
  control: ControlPlane,
  file: string,
  since: string | undefined,
  onProgress: (doneBytes: number, allBytes: number) => void,
): Promise<About> {
  const temporary = `${file}.${randomBytes(4).toString('hex')}.part`;
  const handle = await open(temporary, 'wx', 0o600);
  try {
    const { data, next, ...rest } = await control.call('backup', since === undefined ? {} : { since });
    const about = rest as About;
    let done = 0;
    const append = async (piece: string) => {
      const bytes = Buffer.from(piece, 'base64');
      await handle.write(bytes);
      done += bytes.length;
      onProgress(done, about.size_bytes);
    };
    await append(data);
    for (let cursor = next; cursor !== undefined; ) {
      const piece = await control.call('backup', { cursor });
      await append(piece.data);
      cursor = piece.next;
    }
    await handle.sync();
    await handle.close();
    await rename(temporary, file);
    return about;
  } catch (error) {
    await handle.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Sends a backup piece by piece and has it restored: forward-only, as one more commit where history does not continue. */
export async function uploadBackup(
  control: ControlPlane,
  file: string,
  options: { readonly branch?: string; readonly message?: string },
  onProgress: (doneBytes: number, allBytes: number) => void,
): Promise<RestoredBackup> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    const buffer = Buffer.alloc(Math.max(1, Math.min(pieceBytes, size)));
    let upload: string | undefined;
    for (let done = 0; ; ) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, done);
      done += bytesRead;
      const data = buffer.subarray(0, bytesRead).toString('base64');
      const isLast = done >= size || bytesRead === 0;
      const piece = { data, ...(upload === undefined ? {} : { upload }) };
      const params = isLast ? { ...piece, ...options } : { ...piece, more: true };
      const answer = await control.call('restore-backup', params);
      onProgress(done, size);
      if ('outcome' in answer) return answer;
      upload = answer.upload;
    }
  } finally {
    await handle.close();
  }
}
