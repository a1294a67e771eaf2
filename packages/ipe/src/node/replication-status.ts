import type { ReplicationStatus } from '../replication/index.ts';

/** How replication stands, as `status` tells it. */
export function describeReplication(status: ReplicationStatus): Readonly<Record<string, unknown>> {
  const { plane, repair } = status;
  return {
    plane,
    settled: status.isSettled,
    loading: status.loading,
    published: status.published,
    received: status.received,
    pulled_records: status.pulledRecords,
    joined_states: status.joinedStates,
    rejected: status.rejected,
    parked: status.parked,
    held_back: status.heldBack,
    clock_ahead_ms: status.clockAheadMs,
    mismatched: status.mismatched,
    lag: status.lag,
    ...(repair && {
      repair: {
        namespaces_counted: repair.counted,
        digest_bytes: repair.digestBytes,
        fetched_bytes: repair.fetchedBytes,
        peers: repair.peers.map(({ peer, namespace, equalMs, differing, repaired }) => ({
          peer,
          namespace,
          equal_at: equalMs === undefined ? null : equalMs / 1000,
          differing,
          repaired,
        })),
      },
    }),
  };
}
