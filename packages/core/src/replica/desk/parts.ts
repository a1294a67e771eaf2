import type { Answers } from '../answers.ts';
import type { Dot, Source } from '../dot.ts';
import type { ReplicaEffect } from '../events.ts';
import type { HybridClock } from '../hlc.ts';
import type { Namespace, Namespaces } from '../namespaces.ts';
import type { OfferProgress } from '../offer.ts';
import type { Pipeline } from '../pipeline.ts';
import type { Quarantine } from '../quarantine.ts';
import type { States } from '../states.ts';

/** What admission works on; owned by the replica. */
export interface DeskParts {
  readonly origin: string;
  readonly states: States;
  readonly namespaces: Namespaces;
  readonly answers: Answers;
  readonly clock: HybridClock;
  readonly quarantine: Quarantine;
  readonly pipeline: Pipeline;
  readonly source: (namespace: Namespace) => Source;
  /** Under which writes of earlier sources are offered again. */
  readonly offersSource: () => Source;
  readonly offered: OfferProgress;
  readonly readMs: (nowMs: number) => number;
  readonly quarantineAheadMs: number;
  readonly tombstoneGraceMs: number;
  /** Whether every member of the cluster is known to hold a write. */
  readonly isStable: (namespace: string, dot: Dot) => boolean;
  /** Latest time of what any member, this instance too, has said to have purged. */
  readonly purgedMs: (namespace: string) => number;
  readonly emit: (effect: ReplicaEffect) => void;
}
