import { BatchRecord } from '../batch.ts';
import { Namespace } from '../namespaces.ts';
import { type Offered, type Offering, offer } from '../offer.ts';
import { type ParkedWrite, parkedId, parkedKey, parkedNamespace, parkedWrite } from '../parked.ts';
import type { LogRecord } from '../record.ts';
import type { Strategy } from '../state.ts';
import type { Failure } from '../write.ts';
import { type LocalWrites, seenBy, writeBytes } from './local-writes.ts';
import { misfit } from './misfit.ts';
import type { DeskParts } from './parts.ts';

/** What this instance alone had written before it was evicted, offered again (design 0013, return). */
export class OfferedRecords {
  readonly #parts: DeskParts;
  readonly #local: LocalWrites;

  constructor(parts: DeskParts, local: LocalWrites) {
    this.#parts = parts;
    this.#local = local;
  }

  /**
   * Writes again what still holds of a record of an earlier source of this instance, and parks what an operator must
   * judge: both in the batch that tells how far the offering has come, so that no crash parts them.
   * @returns undefined where it cannot be offered as things are, which the offering tells; nothing changed then
   */
  offer(old: LogRecord, offering: Offering, nowMs: number): readonly Offered[] | undefined {
    const { states, namespaces, pipeline, offered, offersSource, quarantine } = this.#parts;
    const readMs = this.#parts.readMs(nowMs);
    if (offering.failure !== undefined) return undefined;
    if (offered.isKnown(old)) return [];
    const namespace = namespaces.open(old.namespace);
    offering.failure = namespace instanceof Namespace ? this.#unofferable(old, namespace) : namespace;
    if (!(namespace instanceof Namespace) || offering.failure !== undefined) return undefined;
    const batch = pipeline.gathering;
    batch.sealRecord(old.namespace);
    const source = offersSource();
    const record = new BatchRecord(old.namespace, source, (namespace.admitted.get(source) ?? 0) + 1, old);
    const seen = offered.seenIn(old.namespace);
    const purgedMs = doubtedUpTo(namespace.strategy, Math.max(offering.purgedMs, namespace.purgedMs));
    const verdicts = old.operations.map((operation, idx) => {
      const cell = states.latest(operation.key);
      const verdict = offer(old, idx, {
        state: cell.state,
        strategy: namespace.strategy,
        readMs,
        source,
        floor: namespace.floor,
        purgedMs,
        seen,
        applied: () => seenBy(namespace, record, quarantine),
        before: operation.op === 'add' ? offering.before.get(operation) : undefined,
        removed: offering.removed,
      });
      if (verdict.operation !== undefined) this.#local.apply(namespace, record, verdict.operation, cell);
      return verdict;
    });
    const as = record.operations.length > 0 ? record : undefined;
    if (as !== undefined) batch.records.push(as);
    for (const [idx, { parked }] of verdicts.entries())
      if (parked !== undefined) this.#park(parkedWrite(old, idx, parked), nowMs);
    offered.admit({ record: old, as });
    batch.offered.push({ record: old, as });
    batch.operationCount++;
    return verdicts;
  }

  /** Why a record cannot be offered, if it cannot. */
  #unofferable(old: LogRecord, namespace: Namespace): Failure | undefined {
    const { states, namespaces } = this.#parts;
    const keys = old.operations.flatMap(({ key }, idx) => [key, parkedKey(parkedId(old, idx))]);
    const damage = keys.map((key) => states.damageOf(key)).find((each) => each !== undefined);
    return misfit(old, namespace) ?? namespaces.get(parkedNamespace)?.problem ?? damage;
  }

  /** Parks a write. One that was parked before is left: an operator may have decided already. */
  #park(write: ParkedWrite, nowMs: number): void {
    const key = parkedKey(write.id);
    if (this.#parts.states.latest(key).state !== undefined) return;
    const namespace = this.#parts.namespaces.open(parkedNamespace) as Namespace;
    const put = { op: 'put', namespace: parkedNamespace, key, json: JSON.stringify(write) } as const;
    this.#local.one(put, namespace, this.#local.openRecord(namespace, undefined, 1, writeBytes(put), nowMs), nowMs);
  }
}

/**
 * Up to when a write to an absent key may concern something that was purged. Where concurrent deletions count, one that
 * did not see the write may have been purged whatever its time.
 */
function doubtedUpTo(strategy: Strategy, purgedMs: number): number {
  const isByTime = !('resolver' in strategy) || strategy.resolver === 'add-wins';
  return isByTime || purgedMs === 0 ? purgedMs : Number.POSITIVE_INFINITY;
}
