import type { Interest, Strategy, Write } from '../../replica/index.ts';
import type { Rot } from './bit-rot.ts';

/** Commits of a log that nothing is trimmed from while a plan runs. */
export const wholeLog = 100_000;

/**
 * A simulated run as data: what is done when. A seed draws one (`drawPlan`); shrinking takes parts of it away; replaying
 * carries it out again. What it leaves open (delays, losses) is drawn from `seed`.
 */
export interface Plan {
  readonly seed: number;
  readonly members: readonly MemberPlan[];
  readonly network: NetworkPlan;
  /** What carries batches besides anti-entropy: nothing, every instance to every other, or a broker. */
  readonly plane: 'none' | 'direct' | 'broker';
  readonly durability: 'fsync' | 'wal';
  /** Commits that an instance keeps in its log. */
  readonly logCommitsMax: number;
  /** Bytes of a slice of the log and of a page of states. */
  readonly sliceBytes: number;
  /** How long a member may go unheard before it is evicted. Absent: nobody is. The first member holds the cluster key. */
  readonly leaseMs?: number | undefined;
  /** How long after a start earlier epochs are folded. Absent: as long as at nodes, and nothing folds. */
  readonly foldAfterMs?: number | undefined;
  /** How far ahead of a clock records may be that are not held back. Absent: as far as at nodes. */
  readonly quarantineAheadMs?: number | undefined;
  /** When the last fault ends: from then on nothing goes wrong and everything must settle. */
  readonly calmMs: number;
  /** In order of time. */
  readonly actions: readonly Action[];
}

export interface MemberPlan {
  /** When it starts for the first time; later than 0, it joins a running cluster and holds nothing whole. */
  readonly startMs: number;
  readonly interest: Interest;
}

export interface NetworkPlan {
  readonly lossRate: number;
  readonly repeatRate: number;
  readonly delayMaxMs: number;
}

/** One thing that is done; `at` counts the members from 0. */
export type Action = { readonly atMs: number } & (
  | { readonly do: 'write'; readonly at: number; readonly writes: readonly Write[] }
  /** Reads keys of one namespace in one tick. */
  | { readonly do: 'read'; readonly at: number; readonly keys: readonly string[] }
  /** kill -9 with the power: what is not synced is lost from some batch on. */
  | { readonly do: 'crash'; readonly at: number; readonly forMs: number }
  | { readonly do: 'fill'; readonly at: number; readonly forMs: number }
  /** Syncs return and keep nothing; at the end the power goes. */
  | { readonly do: 'lie'; readonly at: number; readonly forMs: number }
  /** The data directory is copied; `restore` puts the last copy back under a stopped instance and starts it. */
  | { readonly do: 'copy'; readonly at: number }
  | { readonly do: 'restore'; readonly at: number }
  /** A second instance starts on a copy of the data directory, as the same member, and stays. */
  | { readonly do: 'clone'; readonly at: number }
  /** Nothing passes from one member to another; the way back is another action. */
  | { readonly do: 'cut'; readonly at: number; readonly to: number; readonly forMs: number }
  /** Nothing passes between a member and any other. */
  | { readonly do: 'away'; readonly at: number; readonly forMs: number }
  /** An operator evicts a member, and gives it a token to come back with later. */
  | { readonly do: 'evict'; readonly at: number; readonly forMs: number }
  /** kill -9, for good. */
  | { readonly do: 'leave'; readonly at: number }
  /** The wall clock jumps to this distance from true time. */
  | { readonly do: 'clock'; readonly at: number; readonly offsetMs: number }
  /** A subscriber of a namespace leaves the instance that it follows, and goes on at this one after a while. */
  | {
      readonly do: 'follow';
      readonly at: number;
      readonly follower: number;
      readonly namespace: string;
      readonly forMs: number;
    }
  /** A row of the facts or of the log is damaged or lost: the one at this place, from 0 to 1, of those that qualify. */
  | { readonly do: 'rot'; readonly at: number; readonly what: Rot; readonly place: number }
  | { readonly do: 'broker'; readonly what: BrokerFault; readonly forMs: number }
);

/** `down`: refuses everything. `lie`: acknowledges and keeps nothing. `purge`: forgets what it kept. `reset`: numbers anew. */
export type BrokerFault = 'down' | 'lie' | 'purge' | 'reset';

/** The namespaces that workloads write to. */
export const strategies: Readonly<Record<string, Strategy>> = {
  plain: { kind: 'lww' },
  pairs: { kind: 'lww' },
  approvals: { kind: 'version-vector', resolver: 'revoke-wins' },
  grants: { kind: 'version-vector', resolver: 'add-wins' },
  notes: { kind: 'version-vector', resolver: 'siblings' },
  counts: { kind: 'counter' },
  sums: { kind: 'counter' },
  groups: { kind: 'set', resolver: 'add-wins' },
  adds: { kind: 'set', resolver: 'add-wins' },
  // IPE's own: records of members, and writes that wait for an operator.
  _sys: { kind: 'version-vector', resolver: 'revoke-wins' },
};

/** How far a wall clock may be off, at most. */
export const clockOffsetMaxMs = 5_000;
