import { decodeCommit, expiryKey, logKey, type Replica, type ReplicaEvent } from '../../replica/index.ts';
import type { Disk } from './disk.ts';

/** What a node's housekeeper would tell the replica now: which keys may be dead, and which commits leave the log. */
export function housekeep(disk: Disk, replica: Replica, wallMs: number, logCommitsMax: number): ReplicaEvent[] {
  const events: ReplicaEvent[] = [];
  const due = expiryKey(replica.readMs(wallMs) + 1, '');
  const keys = disk
    .rows('expiry')
    .filter(([key]) => isBelow(key, due))
    .map(([key]) => String.fromCharCode(...key.subarray(6)));
  if (keys.length > 0) events.push({ type: 'purge', keys });
  const excess = replica.durableCommit - replica.trimmedCommit - logCommitsMax;
  if (excess <= 0) return events;
  const rows = disk
    .rows('commits')
    .slice(0, excess)
    .flatMap(([key, value]) => {
      const { namespace, source, seq } = decodeCommit(value, replica.sources);
      return [
        { type: 'delete', family: 'commits', key },
        { type: 'delete', family: 'log', key: logKey(namespace, source, seq) },
      ] as const;
    });
  events.push({ type: 'trim', commit: replica.trimmedCommit + excess, bytes: 0, rows });
  return events;
}

function isBelow(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i]! < b[i]!;
  return a.length < b.length;
}
