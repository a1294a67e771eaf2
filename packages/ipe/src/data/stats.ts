import { type NamespaceReport, recordsIn, strategyText } from '@ipe/core/replica';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { mayAccess } from '../security/access.ts';
import type { Engine } from './engine.ts';

/** Lag of a peer, where there are any. */
export interface PeerLag {
  readonly peer: string;
  readonly namespace: string;
  /** Records that the peer is not known to hold. */
  readonly behind: number;
}

/** The method `stats`. */
export function statsMethods(
  engine: Engine,
  subscriptions: { readonly size: number },
  peers: () => readonly PeerLag[],
): Handlers {
  return {
    stats: async (params, { caller }) => {
      readParams(params, []);
      const { replica, fence } = engine;
      const disk = await engine.kv.size();
      const namespaces = engine
        .namespaces()
        .filter(({ name }) => mayAccess(caller, name, 'read'))
        .map(describeNamespace);
      const { queued, queuedBytes, commitsInFlight, cacheBytes } = replica.pressure();
      return {
        instance: replica.origin,
        entries: namespaces.reduce((sum, { entries }) => sum + entries, 0),
        tombstones: namespaces.reduce((sum, { tombstones }) => sum + tombstones, 0),
        bytes: namespaces.reduce((sum, { bytes }) => sum + bytes, 0),
        namespaces,
        commits: { applied: replica.appliedCommit, durable: replica.durableCommit, trimmed: replica.trimmedCommit },
        log_bytes: replica.logBytes,
        disk_bytes: disk.totalBytes,
        ...(disk.families !== undefined && { disk_bytes_by_family: disk.families }),
        cache_bytes: cacheBytes,
        waiting: { requests: queued, bytes: queuedBytes, commits_in_flight: commitsInFlight },
        subscriptions: subscriptions.size,
        peers: peers().filter(({ namespace }) => mayAccess(caller, namespace, 'read')),
        ...(engine.damage.count > 0 && { damaged_rows: engine.damage.count }),
        ...(fence !== undefined && { refusing_writes: fence.message }),
      };
    },
  };
}

/** A namespace as `stats` and `status` tell it. */
export function describeNamespace({ name, strategy, entries, tombstones, bytes, heads, problem }: NamespaceReport) {
  return {
    namespace: name,
    strategy: strategyText(strategy),
    entries,
    tombstones,
    bytes,
    head: Object.fromEntries([...heads].map(([source, seq]) => [source.id, recordsIn(seq)])),
    ...(problem !== undefined && { problem: problem.message }),
  };
}
