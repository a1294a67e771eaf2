import type { PlaneService } from '../api/method.ts';
import type { Engine } from './engine.ts';
import { Freshness } from './freshness.ts';
import { readMethods } from './reads.ts';
import { type Acks, writeMethods } from './writes.ts';

export interface DataServiceOptions {
  readonly engine: Engine;
  /** Absent on a single node: there are no peers to wait for. */
  readonly acks?: Acks;
}

const alone: Acks = { peerCount: 0, peers: async () => {} };

/** The data plane's methods over an engine, each call held to what its caller may touch. */
export function createDataService({ engine, acks = alone }: DataServiceOptions): PlaneService {
  const freshness = new Freshness(engine);
  return {
    plane: 'data',
    handlers: { ...readMethods(engine, freshness), ...writeMethods(engine, acks) },
    missing: () => (engine.fence === undefined ? [] : [`writes: ${engine.fence.message}`]),
  };
}
