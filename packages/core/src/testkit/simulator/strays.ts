import { hasJoined } from '../../replica/index.ts';
import type { Instance } from './instance.ts';

/**
 * By source id, the last record that an instance's states name of evicted members and that nobody holds, or that does not
 * count: it came with states of a transfer that an eviction ended, and stays shown, of each key as much as the states of
 * that key had.
 */
export function straysOf({ replica, exchange }: Instance, namespace: string): ReadonlyMap<string, number> {
  const strays = new Map<string, number>();
  for (const [source, seq] of replica.aheadOf(namespace)?.heads ?? [])
    if (exchange.known.isStray(namespace, source, seq)) strays.set(source.id, seq);
  return strays;
}

/**
 * By source id, the last record that an instance's states name beyond its vector: strays, and what is still to come. Of a
 * giver under `wal` that may be what it has shown already and not synced yet.
 */
export function namedAhead({ replica }: Instance, namespace: string): ReadonlyMap<string, number> {
  return new Map([...(replica.aheadOf(namespace)?.heads ?? [])].map(([{ id }, seq]) => [id, seq]));
}

/** Whether an instance has yet to join in what another shows of such records. */
export function lacksStrays({ replica }: Instance, other: Instance, namespace: string): boolean {
  const theirs = other.replica.aheadOf(namespace);
  if (theirs === undefined || straysOf(other, namespace).size === 0) return false;
  return !hasJoined(replica.aheadOf(namespace), theirs);
}
