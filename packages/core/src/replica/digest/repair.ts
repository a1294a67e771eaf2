import { isIpeError } from '../../errors.ts';
import { type Cell, decodeCell } from '../cell.ts';
import type { SnapshotPage } from '../delivery/slice.ts';
import type { Source } from '../dot.ts';
import type { Commit, StateEntry } from '../events.ts';
import { covers, coversDot, type Heads } from '../exchange/vectors.ts';
import type { LogRecord } from '../record.ts';
import type { Replica } from '../replica.ts';
import type { KeyState } from '../state.ts';
import type { Cuts } from './cuts.ts';
import type { Items } from './items.ts';
import { isLost } from './lost.ts';

/** What repairs need to know of the replica that they are for. */
export type RepairedReplica = Pick<Replica, 'sources' | 'strategyOf' | 'headsOf' | 'heldBack'>;

/** A question to a peer that is under way. */
export interface OpenQuestion {
  /** Keys that changed here since it was asked: what the peer showed of them may have been deleted and purged since. */
  readonly changed: Set<string>;
}

/** Decides what of a peer's states is taken in the place of facts that were lost or damaged here. */
export class Repairs {
  readonly #replica: RepairedReplica;
  readonly #items: Items;
  /** By damaged key: what was committed here when it was met. Whoever holds all that holds what the row held. */
  readonly #heldAtDamage = new Map<string, Heads>();

  readonly #open = new Set<OpenQuestion>();

  constructor(replica: RepairedReplica, items: Items) {
    this.#replica = replica;
    this.#items = items;
  }

  /** Notes that a row is damaged. */
  met(namespace: string, key: string): void {
    this.#heldAtDamage.set(key, new Map(this.#replica.headsOf(namespace)));
  }

  /** A peer is about to be asked for states. Ended by `close`. */
  open(): OpenQuestion {
    const question: OpenQuestion = { changed: new Set() };
    this.#open.add(question);
    return question;
  }

  close(question: OpenQuestion): void {
    this.#open.delete(question);
  }

  /**
   * Takes in what was committed, in the tick in which readers begin to see it.
   * @param keys those whose cells changed @param commits records that were applied
   */
  changed(keys: Iterable<string>, commits: readonly Pick<Commit, 'record'>[]): void {
    if (this.#heldAtDamage.size > 0) for (const { record } of commits) this.#absorbed(record);
    if (this.#open.size === 0) return;
    for (const key of keys) for (const { changed } of this.#open) changed.add(key);
  }

  /** A record that wrote to a damaged key: what it did is to come with what mends the row. */
  #absorbed({ source, seq, operations }: LogRecord): void {
    for (const { key } of operations) {
      const held = this.#heldAtDamage.get(key);
      if (held !== undefined && !coversDot(held, { source, seq, idx: 0 }))
        this.#heldAtDamage.set(key, new Map(held).set(source, seq));
    }
  }

  /** How far states here tell of what a vector covers (by default that of commits): up to the first record held back. */
  toldOf(namespace: string, vector: Heads = this.#replica.headsOf(namespace)): Map<Source, number> {
    const told = new Map(vector);
    for (const { source, from } of this.#replica.heldBack(namespace))
      told.set(source, Math.min(from - 1, told.get(source) ?? 0));
    return told;
  }

  /** States of a page; rows that are damaged at the peer are left out. */
  statesOf(namespace: string, page: Pick<SnapshotPage, 'rows'>): Map<string, KeyState> {
    const strategy = this.#replica.strategyOf(namespace);
    const states = new Map<string, KeyState>();
    for (const { key, row } of page.rows) {
      try {
        const { state } = decodeCell(row, this.#replica.sources, strategy);
        if (state !== undefined) states.set(key, state);
      } catch (error) {
        if (!isIpeError(error)) throw error;
      }
    }
    return states;
  }

  /**
   * What of a peer's states was lost here.
   * @param ours committed cells; keys that are left out, because their rows are damaged, are mended by name
   * @param heads `toldOf` as it was before the cells were read
   */
  lost(
    namespace: string,
    theirs: ReadonlyMap<string, KeyState>,
    ours: ReadonlyMap<string, Cell>,
    rules: { readonly heads: Heads; readonly cuts: Cuts; readonly question: OpenQuestion },
  ): StateEntry[] {
    const strategy = this.#replica.strategyOf(namespace);
    const lost: StateEntry[] = [];
    for (const [key, cell] of ours) {
      const state = rules.question.changed.has(key) ? undefined : theirs.get(key);
      if (state !== undefined && isLost(key, cell, state, { ...rules, strategy, items: this.#items }))
        lost.push({ key, state });
    }
    return lost;
  }

  /**
   * What takes the place of damaged rows, of those that this answer of a peer can mend. Nothing may come here later that
   * the peer has applied already: it may have forgotten the deletion that beat it there.
   */
  mending(namespace: string, keys: readonly string[], page: Pick<SnapshotPage, 'heads' | 'rows'>): StateEntry[] {
    const heads = new Map(page.heads.map(({ source, seq }) => [source, seq]));
    if (!covers(this.toldOf(namespace), heads)) return [];
    const states = this.statesOf(namespace, page);
    const isDamagedThere = (key: string) => !states.has(key) && page.rows.some((row) => row.key === key);
    return (
      keys
        // A peer that lacks some of what was here may have an older state: it would read as if writes had never been.
        .filter((key) => covers(heads, this.#heldAtDamage.get(key) ?? new Map()) && !isDamagedThere(key))
        // What the peer covers and does not have was deleted, or has expired, and was purged there.
        .map((key) => ({ key, state: states.get(key) }))
    );
  }

  /** Sound rows are in the place of damaged ones. */
  mended(entries: readonly StateEntry[]): void {
    for (const { key } of entries) this.#heldAtDamage.delete(key);
  }
}
