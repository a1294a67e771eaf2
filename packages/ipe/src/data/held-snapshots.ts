import { IpeError } from '@ipe/core';
import type { Cell, DataFamily } from '@ipe/core/replica';
import type { KvSnapshot } from '@ipe/core/store';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import type { Engine } from './engine.ts';
import { HeldViews } from './held-views.ts';

/** Snapshots that a node holds at once. */
export const snapshotsMax = 16;
/** How long a snapshot is held for its next query. */
export const snapshotIdleMs = 600_000;

/** The facts as of one tick. */
export interface FactsSnapshot {
  readonly rows: KvSnapshot<DataFamily>;
  /**
   * Cells of keys whose rows may be in the store already though their commit is under way: readers get these. Undefined
   * where the row is damaged and being mended: its own bytes tell whether it can be read.
   */
  readonly uncommitted: ReadonlyMap<string, Cell | undefined>;
  /** The readers' clock then: what had not expired by it does not expire in it. */
  readonly nowMs: number;
}

/** All facts as they stand now. Whoever takes them closes their rows. */
export function snapshotOf(engine: Engine): FactsSnapshot {
  return { rows: engine.kv.snapshot(), uncommitted: engine.replica.uncommitted(), nowMs: engine.readMs() };
}

/** Snapshots that clients hold, so that many queries, of any patterns, show one state of the facts. */
export class HeldSnapshots {
  readonly #engine: Engine;
  readonly #views = new HeldViews<FactsSnapshot>({ what: 'snapshots', idleMs: snapshotIdleMs, most: snapshotsMax });

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** @throws IpeError `not_found` for one that is not held, or no longer */
  get(name: string): FactsSnapshot {
    const snapshot = this.#views.get(name);
    if (snapshot === undefined)
      throw new IpeError('not_found', 'this snapshot is no longer held; hold another one', {
        details: { field: 'snapshot' },
      });
    return snapshot;
  }

  /** The methods `hold-snapshot` and `release-snapshot`. */
  handlers(): Handlers {
    return {
      'hold-snapshot': (params) => {
        readParams(params, []);
        const snapshot = this.#views.hold(() => snapshotOf(this.#engine));
        return { snapshot, at: this.get(snapshot).nowMs / 1000, idle_seconds: snapshotIdleMs / 1000 };
      },
      'release-snapshot': (params) => {
        this.#views.release(readParams(params, ['snapshot']).string('snapshot'));
        return {};
      },
    };
  }
}
