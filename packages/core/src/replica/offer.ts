import type { Dot, Source } from './dot.ts';
import { compareHlc } from './hlc.ts';
import { compareResets, compareWindows, covers, joinContexts } from './join.ts';
import type { AddOperation, LogRecord, MembersOperation, Operation } from './record.ts';
import { latestOf, versionOf } from './resolve.ts';
import type { Context, Counter, KeyState, Members } from './state.ts';

/**
 * What becomes of a write that a returning member alone had (design 0013, return):
 * - `applied`: it takes part, under a new dot and with its old time;
 * - `superseded`: what the others wrote since comes after it;
 * - `parked`: the key is absent and something as late was purged from the namespace: whether it was deleted meanwhile
 *   cannot be told, and an operator must say.
 */
export type OfferVerdict = 'applied' | 'superseded' | 'parked';

export interface Offered {
  readonly verdict: OfferVerdict;
  /** What takes part, where something does. */
  readonly operation?: Operation;
  /** What is parked, where something is. */
  readonly parked?: Operation;
}

/** Where an operation is offered. */
export interface OfferSite {
  /** What the key holds now. */
  readonly state: KeyState | undefined;
  /** Source of the offers. */
  readonly source: Source;
  /** Highest version purged from the namespace, and the latest time of what was. */
  readonly floor: number;
  readonly purgedMs: number;
  /** Of a counter: the total of the same source in the operation before, where that is offered too. */
  readonly before: { readonly plus: number; readonly minus: number } | undefined;
}

/**
 * Judges one operation of a record that nobody else has. Revocations always take part: at worst they delete what is
 * deleted. @param dot its old dot
 */
export function offer(record: LogRecord, idx: number, site: OfferSite): Offered {
  const operation = record.operations[idx]!;
  const dot = { source: record.source, seq: record.seq, idx };
  switch (operation.op) {
    case 'put':
    case 'delete': {
      const { state } = site;
      if (state?.kind === 'siblings' && covers(state.context, dot)) return { verdict: 'superseded' };
      if (state?.kind === 'version' && compareHlc(latestOf(state), record) >= 0) return { verdict: 'superseded' };
      if (operation.op === 'put' && isDoubtful(record, site)) return { verdict: 'parked', parked: operation };
      const context = operation.context && withDot(operation.context, dot);
      return { verdict: 'applied', operation: { ...operation, version: versionAt(operation, site), context } };
    }
    case 'add':
      return offerAdd(record, operation, site);
    case 'reset': {
      const reset = (site.state as Counter | undefined)?.reset;
      if (reset !== undefined && compareHlc(reset, record) >= 0) return { verdict: 'superseded' };
      return { verdict: 'applied', operation: { ...operation, version: versionAt(operation, site) } };
    }
    case 'members':
      return offerMembers(record, operation, dot, site);
  }
}

const isDoubtful = (record: LogRecord, { state, purgedMs }: OfferSite) => state === undefined && record.ms <= purgedMs;

const versionAt = ({ version }: Operation, { state, floor }: OfferSite) =>
  Math.max(version, 1 + (state === undefined ? floor : versionOf(state)));

const withDot = (context: Context, dot: Dot): Context => joinContexts(context, [dot]);

/** A counter's operation carries its source's total: what of it nobody has is the rest beyond what is counted already. */
function offerAdd(record: LogRecord, operation: AddOperation, site: OfferSite): Offered {
  const state = site.state as Counter | undefined;
  if (isDoubtful(record, site)) return { verdict: 'parked', parked: operation };
  const order =
    state === undefined ? 1 : compareResets(operation.reset, state.reset) || compareWindows(operation, state);
  if (order < 0) return { verdict: 'superseded' };
  const totalOf = (source: Source) =>
    order === 0 ? state?.totals.find((total) => total.source === source) : undefined;
  const counted = site.before ?? totalOf(record.source);
  const mine = totalOf(site.source);
  const plus = (mine?.plus ?? 0) + Math.max(0, operation.plus - (counted?.plus ?? 0));
  const minus = (mine?.minus ?? 0) + Math.max(0, operation.minus - (counted?.minus ?? 0));
  if (plus === (mine?.plus ?? 0) && minus === (mine?.minus ?? 0)) return { verdict: 'superseded' };
  return { verdict: 'applied', operation: { ...operation, plus, minus, version: versionAt(operation, site) } };
}

function offerMembers(record: LogRecord, operation: MembersOperation, dot: Dot, site: OfferSite): Offered {
  const known = new Map(((site.state as Members | undefined)?.members ?? []).map((member) => [member.member, member]));
  const fresh = operation.changes.filter(({ member }) => {
    const held = known.get(member);
    return held === undefined || !covers(held.context, dot);
  });
  const isParked = ({ member, present }: (typeof fresh)[number]) =>
    present && !known.has(member) && record.ms <= site.purgedMs;
  const parked = fresh.filter(isParked);
  const changes = fresh
    .filter((change) => !isParked(change))
    .map((change) => ({ ...change, context: withDot(change.context, dot) }));
  return {
    verdict: changes.length > 0 ? 'applied' : parked.length > 0 ? 'parked' : 'superseded',
    ...(changes.length > 0 && { operation: { ...operation, changes, version: versionAt(operation, site) } }),
    ...(parked.length > 0 && { parked: { ...operation, changes: parked } }),
  };
}

/** By record and operation, the total in the operation before of the same counter: what `OfferSite.before` wants. */
export function totalsBefore(records: readonly LogRecord[]): Map<AddOperation, AddOperation> {
  const last = new Map<string, AddOperation>();
  const before = new Map<AddOperation, AddOperation>();
  for (const { source, operations } of records) {
    for (const operation of operations) {
      if (operation.op !== 'add') continue;
      const place = `${source.id}/${operation.key}`;
      const previous = last.get(place);
      const isSame =
        previous !== undefined &&
        compareResets(previous.reset, operation.reset) === 0 &&
        compareWindows(previous, operation) === 0;
      if (isSame) before.set(operation, previous);
      last.set(place, operation);
    }
  }
  return before;
}

/** How far earlier sources of this instance are offered again: by namespace and source, the last record. */
export class OfferProgress {
  #committed = new Map<string, Map<Source, number>>();
  #admitted = new Map<string, Map<Source, number>>();

  constructor(committed: ReadonlyMap<string, ReadonlyMap<Source, number>>) {
    this.adopt(committed);
  }

  isKnown({ namespace, source, seq }: LogRecord): boolean {
    return seq <= (this.#admitted.get(namespace)?.get(source) ?? 0);
  }

  admit(record: LogRecord): void {
    note(this.#admitted, record);
  }

  commit(record: LogRecord): void {
    note(this.#committed, record);
  }

  /** Forgets what was admitted and not committed. */
  rollBack(): void {
    this.#admitted = copyOf(this.#committed);
  }

  /** Takes in what a store holds. */
  adopt(committed: ReadonlyMap<string, ReadonlyMap<Source, number>>): void {
    this.#committed = copyOf(committed);
    this.rollBack();
  }
}

function note(progress: Map<string, Map<Source, number>>, { namespace, source, seq }: LogRecord): void {
  const seqs = progress.get(namespace) ?? new Map<Source, number>();
  progress.set(namespace, seqs.set(source, seq));
}

const copyOf = (progress: ReadonlyMap<string, ReadonlyMap<Source, number>>) =>
  new Map([...progress].map(([namespace, seqs]) => [namespace, new Map(seqs)]));
