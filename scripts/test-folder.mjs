// Vitest's global setup: a folder of its own for all that a run writes, gone with the run.
import { mkdtempSync, rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

/** Linux keeps it in memory. */
const memoryFolder = '/dev/shm';
const tmpfsType = 0x01021994;
const roomBytesMin = 2 * 1024 ** 3;

/**
 * Points `TMPDIR` at the folder, for the workers and the programs they start. It is in memory where there is room and
 * nobody set `TMPDIR`: most of what the tests do is wait for a disk to sync, for a second at a time on a shared host.
 * None of them takes the power away: what they show of disks they show by killing processes, cutting files and filling
 * small file systems, which memory does as well.
 */
export default function setup() {
  const parent = process.env.TMPDIR === undefined && hasRoom(memoryFolder) ? memoryFolder : tmpdir();
  const folder = mkdtempSync(join(parent, 'ipe-tests-'));
  process.env.TMPDIR = folder;
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}

function hasRoom(folder) {
  try {
    const { type, bavail, bsize } = statfsSync(folder);
    return type === tmpfsType && bavail * bsize >= roomBytesMin && process.availableMemory() >= 2 * roomBytesMin;
  } catch {
    return false;
  }
}
