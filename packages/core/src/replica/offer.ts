import { compareDots, type Dot, placesMax, type Source } from './dot.ts';
import { compareHlc } from './hlc.ts';
import { compareResets, compareWindows, covers, joinContexts } from './join.ts';
import { deletionBeside, isOverBeside, memberBeside, putBeside } from './offer-over.ts';
import type { AddOperation, LogRecord, MemberChange, MembersOperation, Operation } from './record.ts';
import { isTombstone, latestOf, versionOf } from './resolve.ts';
import type { Context, Counter, KeyState, Member, Members, Strategy } from './state.ts';
import type { Failure } from './write.ts';

/**
 * What becomes of a write that a returning member alone had (design 0013, return):
 * - `applied`: it takes part, under a new dot and with its old time;
 * - `superseded`: what the others wrote since comes after it, or is a concurrent deletion that wins; or it would be parked,
 *   and the member itself deleted it later;
 * - `parked`: the key is absent and something as late was purged from the namespace: whether it was deleted meanwhile
 *   cannot be told, and an operator must say; or it conflicts with a deletion and the application is to settle that.
 */
export type OfferVerdict = 'applied' | 'superseded' | 'parked';

export interface Offered {
  readonly verdict: OfferVerdict;
  /** What takes part, where something does. */
  readonly operation?: Operation;
  /** What is parked, where something is. Of an operation that adds: what it added, not its source's total. */
  readonly parked?: Operation;
}

/** What the records of one offering have in common. */
export interface Offering {
  /** Latest time of what other members have purged from the namespaces. */
  readonly purgedMs: number;
  /** What `totalsBefore` tells of the records. */
  readonly before: ReadonlyMap<AddOperation, AddOperation>;
  /** What `removedLater` tells of them. */
  readonly removed: ReadonlySet<Operation | MemberChange>;
  /** Why a record could not be offered. Those behind it are not either: progress is told by the last one offered. */
  failure: Failure | undefined;
}

/** Where an operation is offered. */
export interface OfferSite {
  /** What the key holds now. */
  readonly state: KeyState | undefined;
  readonly strategy: Strategy;
  /** The readers' clock. */
  readonly readMs: number;
  /** Source of the offers. */
  readonly source: Source;
  /** Highest version purged from the namespace, and the latest time of what was. */
  readonly floor: number;
  readonly purgedMs: number;
  /** What was offered before: `OfferProgress.seenIn`. */
  readonly seen: Context;
  /** Everything that was applied in the namespace; nothing where nothing was ever purged. */
  readonly applied: () => Context;
  /** Of a counter: the total of the same source in the operation before, which is offered too or that everyone has. */
  readonly before: { readonly plus: number; readonly minus: number } | undefined;
  /** What the member deleted later, which is offered too: let take part by an operator, it would undo that. */
  readonly removed: ReadonlySet<Operation | MemberChange>;
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
      if (operation.op === 'put' && isDoubtful(record, site)) return parked(operation, operation, site);
      const context = operation.context && contextFor(operation.context, dot, state, site);
      const now = { ...operation, version: versionAt(operation, site) };
      if (context === undefined || state?.kind !== 'siblings')
        return { verdict: 'applied', operation: { ...now, context } };
      if (now.op === 'delete') {
        const seen = deletionBeside(isOverBeside(state, site), state.context, context);
        return { verdict: 'applied', operation: { ...now, context: seen } };
      }
      const others = { ...state, live: withoutOwn(state.live, site) };
      const beside = putBeside(others, record, { ...now, context }, site);
      if (beside === 'superseded') return { verdict: beside };
      if (beside === 'parked') return parked(operation, operation, site);
      return { verdict: 'applied', operation: { ...now, ...beside } };
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

const parked = (operation: Operation, what: Operation, { removed }: OfferSite): Offered =>
  removed.has(operation) ? { verdict: 'superseded' } : { verdict: 'parked', parked: what };

/** The key is absent as far as the others tell, and something as late was purged. */
const isDoubtful = (record: LogRecord, site: OfferSite) =>
  record.ms <= site.purgedMs && (site.state === undefined || isLateDeletion(site.state, site));

/**
 * Whether of the key is told only that it is deleted, and perhaps by an offer, which keeps its old time: what may be purged
 * is not known to precede that. By itself a deletion does not tell that another returned member offered it; but where time
 * decides, one that is older than something purged stands for nothing later.
 */
function isLateDeletion(state: KeyState, site: OfferSite): boolean {
  if (state.kind === 'version') return isTombstone(state);
  return state.kind === 'siblings' && state.live.every((version) => isOwn(version, site) && isTombstone(version));
}

const isOwn = (dot: Dot, { seen, source }: OfferSite) => dot.source === source || covers(seen, dot);

/** What others wrote. What was offered before tells nothing of what they may have forgotten. */
const withoutOwn = <T extends Dot>(live: readonly T[], site: OfferSite) => live.filter((dot) => !isOwn(dot, site));

const versionAt = ({ version }: Operation, { state, floor }: OfferSite) =>
  Math.max(version, 1 + (state === undefined ? floor : versionOf(state)));

/**
 * What the writer had seen, itself included, and what was offered of that. Where nothing is held, whatever was applied is
 * over and forgotten, as for any write (`seenBy`): who meets it in a log only after the offer must not take the two for
 * concurrent.
 */
function contextFor(context: Context, dot: Dot, held: KeyState | Member | undefined, site: OfferSite): Context {
  const own = joinContexts(joinContexts(context, [dot]), site.seen);
  return held === undefined ? joinContexts(own, site.applied()) : own;
}

/** A counter's operation carries its source's total: what of it nobody has is the rest beyond what is counted already. */
function offerAdd(record: LogRecord, operation: AddOperation, site: OfferSite): Offered {
  const state = site.state as Counter | undefined;
  const order =
    state === undefined ? 1 : compareResets(operation.reset, state.reset) || compareWindows(operation, state);
  if (order < 0) return { verdict: 'superseded' };
  const totalOf = (source: Source) =>
    order === 0 ? state?.totals.find((total) => total.source === source) : undefined;
  // What everyone was taken to have may have grown since it was told: then the state counts more than was told.
  const counted = totalOf(record.source);
  const beyond = (sign: 'plus' | 'minus') =>
    Math.max(0, operation[sign] - Math.max(site.before?.[sign] ?? 0, counted?.[sign] ?? 0));
  const added = { plus: beyond('plus'), minus: beyond('minus') };
  if (added.plus === 0 && added.minus === 0) return { verdict: 'superseded' };
  if (isDoubtful(record, site)) return parked(operation, { ...operation, ...added }, site);
  const mine = totalOf(site.source);
  const plus = (mine?.plus ?? 0) + added.plus;
  const minus = (mine?.minus ?? 0) + added.minus;
  return { verdict: 'applied', operation: { ...operation, plus, minus, version: versionAt(operation, site) } };
}

function offerMembers(record: LogRecord, operation: MembersOperation, dot: Dot, site: OfferSite): Offered {
  const known = new Map(((site.state as Members | undefined)?.members ?? []).map((member) => [member.member, member]));
  const fresh = operation.changes.filter(({ member }) => {
    const held = known.get(member);
    return held === undefined || !covers(held.context, dot);
  });
  const isUnknown = (held: Member | undefined) =>
    held === undefined || held.live.every((mark) => !mark.present && isOwn(mark, site));
  const isInDoubt = ({ member, present }: MemberChange) =>
    present && isUnknown(known.get(member)) && record.ms <= site.purgedMs;
  const parked = fresh.filter((change) => isInDoubt(change) && !site.removed.has(change));
  const changes = fresh.flatMap((change) => {
    if (isInDoubt(change)) return [];
    const held = known.get(change.member);
    const context = contextFor(change.context, dot, held, site);
    if (held === undefined) return [{ ...change, context }];
    if (!change.present) {
      const isOver = held.live.every(({ present }) => !present);
      return [{ ...change, context: deletionBeside(isOver, held.context, context) }];
    }
    const beside = memberBeside({ ...held, live: withoutOwn(held.live, site) }, context, site.strategy);
    return beside === 'superseded' ? [] : [{ ...change, ...beside }];
  });
  return {
    verdict: changes.length > 0 ? 'applied' : parked.length > 0 ? 'parked' : 'superseded',
    ...(changes.length > 0 && { operation: { ...operation, changes, version: versionAt(operation, site) } }),
    ...(parked.length > 0 && { parked: { ...operation, changes: parked } }),
  };
}

/**
 * By operation, the one before it of the same source and counter: what `OfferSite.before` wants.
 * @param records each source's in order
 */
export function totalsBefore(records: Iterable<LogRecord>): Map<AddOperation, AddOperation> {
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

/**
 * Puts, additions and added members that their writer deleted later on.
 * @param records in the order in which they were written
 */
export function removedLater(records: readonly LogRecord[]): ReadonlySet<Operation | MemberChange> {
  const removed = new Set<Operation | MemberChange>();
  /** Keys, or keys and members, that something later removes. */
  const gone = new Set<string>();
  for (const operation of records.flatMap(({ operations }) => operations).reverse()) {
    if (operation.op === 'members') {
      for (const change of operation.changes) {
        const place = `${operation.key}/${change.member}`;
        if (gone.has(place)) removed.add(change);
        if (!change.present) gone.add(place);
      }
    } else if (operation.op === 'delete' || operation.op === 'reset') gone.add(operation.key);
    else if (gone.has(operation.key)) removed.add(operation);
  }
  return removed;
}

/** By namespace and source, the last record. */
type Heads = ReadonlyMap<string, ReadonlyMap<Source, number>>;

/** How far the records of earlier sources of this instance are offered again, as a store tells it. */
export interface OffersMade {
  /** Of the earlier sources: offered up to here. */
  readonly offered: Heads;
  /** Of the sources under which they were offered: written up to here. */
  readonly offeredAs: Heads;
}

/** A record that was offered, and what was written of it, if anything. */
export interface MadeOffer {
  readonly record: LogRecord;
  readonly as: LogRecord | undefined;
}

/** How far earlier sources of this instance are offered again. */
export class OfferProgress {
  #committed: MutableOffers;
  #admitted: MutableOffers;

  constructor(committed: OffersMade) {
    this.#committed = copyOf(committed);
    this.#admitted = copyOf(committed);
  }

  /** What is committed. */
  get made(): OffersMade {
    return this.#committed;
  }

  isKnown({ namespace, source, seq }: LogRecord): boolean {
    return seq <= (this.#admitted.offered.get(namespace)?.get(source) ?? 0);
  }

  /**
   * All that was offered in a namespace so far. Who wrote the record that is offered next had seen it, under its old
   * dots; offers that were interrupted went on under another source, so their dots do not tell it by themselves.
   */
  seenIn(namespace: string): Context {
    const dots = [...(this.#admitted.offeredAs.get(namespace) ?? [])];
    return dots.map(([source, seq]) => ({ source, seq, idx: placesMax })).sort(compareDots);
  }

  admit(offer: MadeOffer): void {
    note(this.#admitted, offer);
  }

  commit(offer: MadeOffer): void {
    note(this.#committed, offer);
  }

  /** Forgets what was admitted and not committed. */
  rollBack(): void {
    this.#admitted = copyOf(this.#committed);
  }

  /** Takes in what a store holds. */
  adopt(committed: OffersMade): void {
    this.#committed = copyOf(committed);
    this.rollBack();
  }
}

interface MutableOffers extends OffersMade {
  readonly offered: Map<string, Map<Source, number>>;
  readonly offeredAs: Map<string, Map<Source, number>>;
}

function note({ offered, offeredAs }: MutableOffers, { record, as }: MadeOffer): void {
  noteHead(offered, record);
  if (as !== undefined) noteHead(offeredAs, as);
}

function noteHead(heads: Map<string, Map<Source, number>>, { namespace, source, seq }: LogRecord): void {
  const seqs = heads.get(namespace) ?? new Map<Source, number>();
  heads.set(namespace, seqs.set(source, seq));
}

const copyOf = ({ offered, offeredAs }: OffersMade): MutableOffers => ({
  offered: copyOfHeads(offered),
  offeredAs: copyOfHeads(offeredAs),
});

const copyOfHeads = (heads: Heads) => new Map([...heads].map(([namespace, seqs]) => [namespace, new Map(seqs)]));
