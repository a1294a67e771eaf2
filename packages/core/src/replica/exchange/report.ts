import { IpeError } from '../../errors.ts';
import type { Ahead } from '../ahead.ts';
import type { Source, Sources } from '../dot.ts';
import type { Heads } from './vectors.ts';

/** What one instance tells another of the namespaces it holds: only what is durable there, never more. */
export interface VectorReport {
  /** The reporting instance: 16 hexadecimal digits. */
  readonly origin: string;
  /** Namespaces that the instance takes part in, whether or not it has anything of them yet. */
  readonly interest: Interest;
  /** Whether it holds all of its interest whole: then what it does not name, it knows to be empty. */
  readonly isSettled: boolean;
  readonly namespaces: ReadonlyMap<string, NamespaceVector>;
  /** By member, how long ago the reporting instance heard of it. */
  readonly heardMs?: ReadonlyMap<string, number>;
  /** Members that the reporting instance knows to be evicted: it takes nothing more of them. */
  readonly evicted?: readonly string[];
  /** The reporting instance's wall clock. */
  readonly clockMs?: number;
  /**
   * In an answer: by namespace, what the one who asked has said to hold whole, where it goes beyond what it says now. One
   * that holds less than that has gone back: its directory is an old copy.
   */
  readonly promised?: ReadonlyMap<string, Heads>;
  /**
   * By namespace, what the reporting instance held whole when it started, until the one it reports to has answered: what
   * it has caught up with since does not show that its directory is an old copy.
   */
  readonly started?: ReadonlyMap<string, Heads>;
}

/** All namespaces, or the named ones. IPE's own (`_sys`) always belong to it. */
export type Interest = 'all' | readonly string[];

/** Whether an interest covers a namespace. */
export function isOfInterest(interest: Interest, namespace: string): boolean {
  return interest === 'all' || namespace.startsWith('_') || interest.includes(namespace);
}

export interface NamespaceVector {
  /** `strategyText`: instances that settle conflicts differently must not exchange the namespace. */
  readonly strategy: string;
  /** False while the instance is still loading the namespace: its vector then proves nothing about what it lacks. */
  readonly isWhole: boolean;
  readonly heads: Heads;
  /** Latest hybrid milliseconds of what was purged; absent: nothing was. */
  readonly purgedMs?: number;
  /** Records that the heads count are held back there for their time: it has not seen yet what they delete. */
  readonly isHoldingBack?: boolean;
  /** What its states show beyond `heads`; absent: nothing. */
  readonly ahead?: Ahead;
}

type ReportJson = {
  origin: string;
  interest: Interest;
  settled: boolean;
  namespaces: Record<string, [string, 0 | 1, Record<string, number>, purgedMs?: number, holdingBack?: 1]>;
  ahead?: Record<string, [heads: Record<string, number>, joinedMs: Record<string, number>]>;
  heard?: Record<string, number>;
  evicted?: readonly string[];
  clock?: number;
  promised?: Record<string, Record<string, number>>;
  started?: Record<string, Record<string, number>>;
};

/** JSON text of a report. */
export function encodeReport(report: VectorReport): string {
  const namespaces: ReportJson['namespaces'] = {};
  const states: ReportJson['ahead'] = {};
  for (const [name, { strategy, isWhole, heads, purgedMs = 0, isHoldingBack, ahead }] of report.namespaces) {
    if (ahead !== undefined) states[name] = [seqsOf(ahead.heads), Object.fromEntries(ahead.joinedMs)];
    namespaces[name] = [
      strategy,
      isWhole ? 1 : 0,
      seqsOf(heads),
      ...(purgedMs > 0 || isHoldingBack ? [purgedMs] : []),
      ...(isHoldingBack ? [1] : []),
    ] as (typeof namespaces)[string];
  }
  const { origin, interest, isSettled: settled, clockMs: clock, evicted = [] } = report;
  const heard = report.heardMs && Object.fromEntries(report.heardMs);
  const promised = report.promised && seqsByName(report.promised);
  const started = report.started && seqsByName(report.started);
  return JSON.stringify({
    origin,
    interest,
    settled,
    namespaces,
    ...(Object.keys(states).length > 0 && { ahead: states }),
    ...(heard && { heard }),
    ...(evicted.length > 0 && { evicted }),
    ...(clock !== undefined && { clock }),
    ...(promised && { promised }),
    ...(started && { started }),
  } satisfies ReportJson);
}

/** @throws IpeError `invalid_request` for anything that `encodeReport` does not write. */
export function decodeReport(text: string, sources: Sources): VectorReport {
  try {
    const parsed = JSON.parse(text) as ReportJson;
    const {
      origin,
      interest,
      settled,
      namespaces,
      heard = {},
      evicted = [],
      clock,
      promised = {},
      started = {},
      ahead = {},
    } = parsed;
    const isInterest =
      interest === 'all' || (Array.isArray(interest) && interest.every((name) => typeof name === 'string'));
    if (!isInterest || typeof settled !== 'boolean') throw new Error('interest');
    if (!/^[0-9a-f]{16}$/.test(origin)) throw new Error('origin');
    const decoded = new Map<string, NamespaceVector>();
    for (const [name, [strategy, whole, seqs, purgedMs = 0, holdingBack]] of Object.entries(namespaces)) {
      const heads = headsIn(seqs, sources);
      if (!Number.isSafeInteger(purgedMs) || purgedMs < 0) throw new Error('purge floor');
      const states = aheadIn(ahead[name], sources);
      decoded.set(name, {
        strategy,
        isWhole: whole === 1,
        heads,
        ...(purgedMs > 0 && { purgedMs }),
        ...(holdingBack === 1 && { isHoldingBack: true }),
        ...states,
      });
    }
    if (!Object.values(heard).every((ageMs) => Number.isFinite(ageMs) && ageMs >= 0)) throw new Error('ages');
    if (!Array.isArray(evicted) || !evicted.every((name) => typeof name === 'string')) throw new Error('evicted');
    if (clock !== undefined && !Number.isFinite(clock)) throw new Error('clock');
    return {
      origin,
      interest,
      isSettled: settled,
      namespaces: decoded,
      ...(clock !== undefined && { clockMs: clock }),
      ...(evicted.length > 0 && { evicted }),
      ...(Object.keys(heard).length > 0 && { heardMs: new Map(Object.entries(heard)) }),
      ...(Object.keys(promised).length > 0 && { promised: headsByName(promised, sources) }),
      ...(Object.keys(started).length > 0 && { started: headsByName(started, sources) }),
    };
  } catch (cause) {
    throw new IpeError('invalid_request', `a vector report cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function seqsOf(heads: Heads): Record<string, number> {
  const seqs: Record<string, number> = {};
  for (const [source, seq] of heads) seqs[source.id] = seq;
  return seqs;
}

function seqsByName(heads: ReadonlyMap<string, Heads>): Record<string, Record<string, number>> {
  return Object.fromEntries([...heads].map(([name, each]) => [name, seqsOf(each)]));
}

function headsByName(seqs: Record<string, Record<string, number>>, sources: Sources): Map<string, Heads> {
  return new Map(Object.entries(seqs).map(([name, each]) => [name, headsIn(each, sources)]));
}

function aheadIn(told: [Record<string, number>, Record<string, number>] | undefined, sources: Sources) {
  if (told === undefined) return {};
  const [heads, joinedMs] = told;
  if (!Object.values(joinedMs).every((ms) => Number.isSafeInteger(ms) && ms >= 0)) throw new Error('times of states');
  return { ahead: { heads: headsIn(heads, sources), joinedMs: new Map(Object.entries(joinedMs)) } };
}

function headsIn(seqs: Readonly<Record<string, number>>, sources: Sources): Heads {
  const heads = new Map<Source, number>();
  for (const [id, seq] of Object.entries(seqs)) {
    const source = sources.parse(id);
    if (source === undefined || !Number.isSafeInteger(seq) || seq < 0) throw new Error(`head \`${id}\``);
    heads.set(source, seq);
  }
  return heads;
}
