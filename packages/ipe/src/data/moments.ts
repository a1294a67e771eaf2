import { IpeError } from '@ipe/core';
import type { Cell, DataFamily } from '@ipe/core/replica';
import type { KvSnapshot } from '@ipe/core/store';
import type { Handlers } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import type { Engine } from './engine.ts';
import { HeldViews } from './held-views.ts';

/** Moments that a node holds at once. */
export const momentsMax = 16;
/** How long a moment is held for its next query. */
export const momentIdleMs = 600_000;

/** The facts as of one tick. */
export interface Moment {
  readonly snapshot: KvSnapshot<DataFamily>;
  /** Cells of keys whose rows may be in the store already though their commit is under way: readers get these. */
  readonly uncommitted: ReadonlyMap<string, Cell>;
  /** The readers' clock then: what had not expired by it does not expire in this moment. */
  readonly nowMs: number;
}

/** All facts as they stand now. Whoever takes a moment closes its snapshot. */
export function momentOf(engine: Engine): Moment {
  return { snapshot: engine.kv.snapshot(), uncommitted: engine.replica.uncommitted(), nowMs: engine.readMs() };
}

/** Moments that clients hold, so that many queries, of any patterns, show one state of the facts. */
export class Moments {
  readonly #engine: Engine;
  readonly #views = new HeldViews<Moment>({ what: 'moments', idleMs: momentIdleMs, most: momentsMax });

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** @throws IpeError `not_found` for one that is not held, or no longer */
  get(name: string): Moment {
    const moment = this.#views.get(name);
    if (moment === undefined)
      throw new IpeError('not_found', 'this moment is no longer held; hold another one', {
        details: { field: 'moment' },
      });
    return moment;
  }

  /** The methods `hold-moment` and `release-moment`. */
  handlers(): Handlers {
    return {
      'hold-moment': (params) => {
        readParams(params, []);
        const moment = this.#views.hold(() => momentOf(this.#engine));
        return { moment, at: this.get(moment).nowMs / 1000, idle_seconds: momentIdleMs / 1000 };
      },
      'release-moment': (params) => {
        this.#views.release(readParams(params, ['moment']).string('moment'));
        return {};
      },
    };
  }
}
