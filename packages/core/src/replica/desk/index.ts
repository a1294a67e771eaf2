import type { Dot } from '../dot.ts';
import { headOf } from '../fold.ts';
import { purged } from '../housekeeping.ts';
import { namespaceOf } from '../key.ts';
import { latestOf } from '../resolve.ts';
import { ForeignRecords } from './foreign-records.ts';
import { HeldRecords } from './held-records.ts';
import { LocalWrites } from './local-writes.ts';
import { OfferedRecords } from './offered-records.ts';
import type { DeskParts } from './parts.ts';

/**
 * Where what arrives is admitted, one arrival after the other, each judged against the latest cells, pending ones
 * included. Every key of an arrival is at hand.
 */
export class Desk {
  readonly local: LocalWrites;
  readonly foreign: ForeignRecords;
  readonly held: HeldRecords;
  readonly offers: OfferedRecords;
  readonly #parts: DeskParts;

  constructor(parts: DeskParts) {
    this.#parts = parts;
    this.local = new LocalWrites(parts);
    this.held = new HeldRecords(parts, this.local);
    this.foreign = new ForeignRecords(parts, this.held);
    this.offers = new OfferedRecords(parts, this.local);
  }

  /** Removes what is dead of a key, if it is, and nothing is being written to it. */
  purge(key: string, nowMs: number): void {
    const { states, namespaces, pipeline, readMs, tombstoneGraceMs } = this.#parts;
    const namespace = namespaces.get(namespaceOf(key));
    if (namespace === undefined || namespace.problem !== undefined) return;
    // What is held back may be older than the deletion that would be forgotten.
    if (this.#parts.quarantine.holdsIn(namespace.name)) return;
    if (states.damageOf(key) !== undefined || states.pending(key) !== undefined) return;
    const before = states.latest(key);
    const rules = {
      nowMs: readMs(nowMs),
      graceMs: tombstoneGraceMs,
      isStable: (dot: Dot) =>
        (headOf(namespace.heads, dot.source) >= dot.seq || namespace.ahead.names(dot)) &&
        this.#parts.isStable(namespace.name, dot),
    };
    const after = purged(before, namespace.strategy, rules);
    if (after === before) return;
    // A set that lost old members keeps its version, but the floor must tell that something is forgotten.
    namespace.purgedMs = Math.max(namespace.purgedMs, latestOf(before.state!).ms);
    namespace.floor = Math.max(namespace.floor, after.state === undefined ? (before.view?.version ?? 0) : 1);
    pipeline.gathering.operationCount++;
    states.put(pipeline.gathering, namespace, key, before, after, undefined);
  }
}
