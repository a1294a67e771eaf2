import type { PlaneService } from '../api/method.ts';
import { aggregateMethods } from './aggregates.ts';
import type { Engine } from './engine.ts';
import { Freshness } from './freshness.ts';
import { HeldSnapshots } from './held-snapshots.ts';
import { historyMethods } from './history.ts';
import { queryMethods } from './query.ts';
import { readMethods } from './reads.ts';
import { type PeerLag, statsMethods } from './stats.ts';
import { Subscriptions } from './subscriptions.ts';
import { type Acks, writeMethods } from './writes.ts';

export interface DataServiceOptions {
  readonly engine: Engine;
  /** Absent on a single node: there are no peers to wait for. */
  readonly acks?: Acks;
  /** How far peers are behind, for `stats`. */
  readonly peers?: () => readonly PeerLag[];
}

/** The data plane of a node. */
export interface DataService extends PlaneService {
  readonly subscriptions: Subscriptions;
  /** Ends subscriptions. The engine stays open: it belongs to whoever opened it. */
  close(): void;
}

const alone: Acks = { peerCount: 0, peers: async () => {} };

/** The data plane's methods over an engine, each call held to what its caller may touch. */
export function createDataService({ engine, acks = alone, peers = () => [] }: DataServiceOptions): DataService {
  const freshness = new Freshness(engine);
  const snapshots = new HeldSnapshots(engine);
  const subscriptions = new Subscriptions(engine, freshness);
  return {
    plane: 'data',
    subscriptions,
    handlers: {
      ...readMethods(engine, freshness),
      ...writeMethods(engine, acks),
      ...queryMethods(engine, freshness, snapshots),
      ...snapshots.handlers(),
      ...historyMethods(engine),
      ...aggregateMethods(engine),
      ...subscriptions.handlers(),
      ...statsMethods(engine, subscriptions, peers),
    },
    missing: () => (engine.fence === undefined ? [] : [`writes: ${engine.fence.message}`]),
    close: () => subscriptions.close(),
  };
}
