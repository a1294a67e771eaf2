import type { Dot, Source, Stamp } from './dot.ts';

/** What the writes to a key amount to. States of a kind form a join-semilattice under `join`. */
export type KeyState = Version | Siblings | Counter | Members;

/**
 * One write of a value or of a tombstone. On its own it is the state of a key under `lww`.
 * Neither `json` nor `bytes`: a tombstone.
 */
export interface Version extends Stamp {
  readonly kind: 'version';
  /** Small number for people and `if_version`: 1 + the highest it overwrote. Not unique across instances. */
  readonly version: number;
  /** Hybrid milliseconds at which the key last came into being. */
  readonly createdMs: number;
  /** Absolute hybrid milliseconds from which readers take it for absent; 0 for never. */
  readonly expiresMs: number;
  /** JSON text, exactly as it is stored and sent. */
  readonly json: string | undefined;
  /** A value given as bytes. Never written to. */
  readonly bytes: Uint8Array | undefined;
  /** Whether it was accepted under a condition (`if_version`, `if_match`): its writer is told when it loses a merge. */
  readonly isConditional: boolean;
}

/**
 * Causal context of a key: the writes to this key, by source, that are known to be part of the state or overwritten by
 * it. A source's writes to one key are a chain, so its last one stands for all before. Sorted by source.
 */
export type Context = readonly Dot[];

/** State of a key under `version-vector`: the versions that nothing known has overwritten, sorted by dot. */
export interface Siblings {
  readonly kind: 'siblings';
  readonly live: readonly Version[];
  readonly context: Context;
}

/** What one source has added to a counter since its reset, in all: grows only. */
export interface Total extends Stamp {
  readonly plus: number;
  readonly minus: number;
}

/** State of a key under `counter`. A later reset, then a later window, replaces what came before. */
export interface Counter {
  readonly kind: 'counter';
  /** The write that last reset the counter; undefined if none did. */
  readonly reset: Stamp | undefined;
  /** Start of the window that is counted, hybrid milliseconds; 0 without windows. */
  readonly windowStartMs: number;
  /** Length of the window; 0 without windows. */
  readonly windowMs: number;
  /** Sorted by source. */
  readonly totals: readonly Total[];
  readonly version: number;
  readonly createdMs: number;
}

/** One write to a member of a set: added or removed. */
export interface Mark extends Stamp {
  readonly present: boolean;
}

/** What is known of one member: the marks that nothing has overwritten, sorted by dot, and their context. */
export interface Member {
  /** Canonical JSON text of the member. */
  readonly member: string;
  readonly live: readonly Mark[];
  readonly context: Context;
}

/** State of a key under `set`. Sorted by member. */
export interface Members {
  readonly kind: 'members';
  readonly members: readonly Member[];
  readonly version: number;
  readonly createdMs: number;
}

/** How concurrent writes to a key are settled; one choice a namespace. */
export type Strategy =
  | { readonly kind: 'lww' }
  | { readonly kind: 'version-vector'; readonly resolver: 'revoke-wins' | 'add-wins' | 'siblings' }
  | { readonly kind: 'counter' }
  | { readonly kind: 'set'; readonly resolver: 'add-wins' | 'remove-wins' };

/** Text of a strategy, as it is stored and compared between instances: `version-vector/revoke-wins`. */
export function strategyText(strategy: Strategy): string {
  return 'resolver' in strategy ? `${strategy.kind}/${strategy.resolver}` : strategy.kind;
}

/** Which kind of state a strategy keeps. */
export function stateKindOf(strategy: Strategy): KeyState['kind'] {
  return ({ lww: 'version', 'version-vector': 'siblings', counter: 'counter', set: 'members' } as const)[strategy.kind];
}

/** A source-indexed position: all of the source's records up to `seq` in one namespace. */
export interface Head {
  readonly source: Source;
  readonly seq: number;
}
