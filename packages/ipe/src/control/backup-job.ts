import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { IpeError, isIpeError } from '@ipe/core';
import type { PolicyStore } from '@ipe/core/tree';
import { writeBackup, writeBundle } from '../repository/index.ts';
import type { UpkeepJob } from './upkeep.ts';

/** `[storage.backup]`. */
export interface BackupSchedule {
  /** Made when missing, mode 0700. */
  readonly directory: string;
  readonly fullEveryMs: number;
  readonly incrementalEveryMs: number;
  /** Full backups kept, each with its increments. */
  readonly keep: number;
}

/** One backup in the folder. Its name says everything: `ipe-full-20260102T030405Z-<commit>.tar`. */
export interface BackupFile {
  readonly name: string;
  readonly kind: 'full' | 'incremental';
  /** Unix milliseconds, whole seconds. */
  readonly timeMs: number;
  /** Root commit of `main` at its end. */
  readonly commit: string;
}

const namePattern = /^ipe-(full|incr)-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-([0-9a-f]{64})\.(tar|bundle)$/;

/** The name of a backup. */
export function backupName(kind: BackupFile['kind'], timeMs: number, commit: string): string {
  const time = new Date(timeMs).toISOString().replace(/[-:]|\.\d+/g, '');
  return kind === 'full' ? `ipe-full-${time}-${commit}.tar` : `ipe-incr-${time}-${commit}.bundle`;
}

/** The backups among the names of a folder, oldest first; other names are left out. */
export function backupsAmong(names: readonly string[]): readonly BackupFile[] {
  const found: BackupFile[] = [];
  for (const name of names) {
    const match = namePattern.exec(name);
    if (match === null || (match[1] === 'full') !== (match[9] === 'tar')) continue;
    const [, kind, year, month, day, hour, minute, second, commit] = match;
    found.push({
      name,
      kind: kind === 'full' ? 'full' : 'incremental',
      timeMs: Date.UTC(Number(year), Number(month) - 1, Number(day), Number(hour), Number(minute), Number(second)),
      commit: commit!,
    });
  }
  // A full backup and an increment of the same second: the increment builds on it.
  return found.sort((a, b) => a.timeMs - b.timeMs || (a.kind === b.kind ? 0 : a.kind === 'full' ? -1 : 1));
}

/** What to make next, from what is there. */
export function nextBackup(
  files: readonly BackupFile[],
  nowMs: number,
  schedule: Pick<BackupSchedule, 'fullEveryMs'>,
): { readonly kind: 'full' } | { readonly kind: 'incremental'; readonly since: string } {
  const full = files.findLast(({ kind }) => kind === 'full');
  const last = files.at(-1);
  if (full === undefined || last === undefined || nowMs - full.timeMs >= schedule.fullEveryMs) return { kind: 'full' };
  return { kind: 'incremental', since: last.commit };
}

/** Backups that are no longer kept: everything before the oldest full one of the newest `keep`. */
export function expiredBackups(files: readonly BackupFile[], keep: number): readonly BackupFile[] {
  const fulls = files.filter(({ kind }) => kind === 'full');
  const oldest = fulls.at(-keep);
  return oldest === undefined ? [] : files.slice(0, files.indexOf(oldest));
}

/** The scheduled job `backup`: a full backup when one is due, else what came since the last, and the expired removed. */
export function backupJob(store: PolicyStore, clock: () => number, schedule: BackupSchedule): UpkeepJob {
  const { directory } = schedule;

  const full = async () => {
    const { commit } = store.current();
    if (commit === null) return { kind: 'none', why: 'the store is empty' };
    const nowMs = clock();
    // The commit may move while the copy begins; then the name would lie, so it is made again.
    const written = await writeBackup(store, join(directory, backupName('full', nowMs, commit)), nowMs);
    if (written.commit !== commit) {
      await rm(written.file);
      throw new IpeError('unavailable', 'policies changed while the backup began; it is tried again');
    }
    return { kind: 'full', file: written.file, commit, objects: written.objects, size_bytes: written.sizeBytes };
  };

  const incremental = async (since: string) => {
    const { commit } = store.current();
    if (commit === null || commit === since) return { kind: 'none', why: 'nothing has changed' };
    const written = await writeBundle(store, join(directory, backupName('incremental', clock(), commit)), since);
    if (written.commit !== commit) {
      await rm(written.file);
      throw new IpeError('unavailable', 'policies changed while the backup began; it is tried again');
    }
    return {
      kind: 'incremental',
      file: written.file,
      since,
      commit,
      objects: written.objects,
      size_bytes: written.sizeBytes,
    };
  };

  const write = async (wanted: ReturnType<typeof nextBackup>) => {
    if (wanted.kind === 'full') return full();
    try {
      return await incremental(wanted.since);
    } catch (error) {
      // Retention has given up what the increment would build on.
      if (isIpeError(error) && error.reason === 'not_found') return full();
      throw error;
    }
  };

  return {
    name: 'backup',
    everyMs: schedule.incrementalEveryMs,
    async run(_signal, report) {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const wanted = nextBackup(backupsAmong(await readdir(directory)), clock(), schedule);
      report({ kind: wanted.kind });
      const attempts = 5;
      for (let attempt = 1; ; attempt++)
        try {
          const written = await write(wanted);
          const expired = expiredBackups(backupsAmong(await readdir(directory)), schedule.keep);
          for (const { name } of expired) await rm(join(directory, name));
          return { ...written, removed: expired.length };
        } catch (error) {
          if (attempt === attempts || !isIpeError(error) || error.reason !== 'unavailable') throw error;
        }
    },
  };
}
