import { compareDots, compareSources, compareStamps, type Dot, type Source, type Stamp } from './dot.ts';
import { isFolded } from './fold.ts';
import type { LogRecord, Operation } from './record.ts';
import type { Context, Counter, Head, KeyState, Member, Members, Siblings, Total, Version } from './state.ts';

/**
 * The least state that holds what both hold: commutative, associative, idempotent, so that any order and any number of
 * deliveries end in the same state. Undefined is the state of a key that nobody wrote.
 *
 * Siblings need no cap: every write overwrites all that its instance holds, so there are at most as many as instances
 * that wrote without having seen each other.
 * @throws TypeError for states of different kinds: a namespace has one strategy, and peers compare theirs first
 */
export function join(a: KeyState | undefined, b: KeyState): KeyState {
  if (a === undefined) return b;
  if (a.kind === 'version' && b.kind === 'version') return compareStamps(a, b) >= 0 ? a : b;
  if (a.kind === 'siblings' && b.kind === 'siblings') return joinSiblings(a, b);
  if (a.kind === 'counter' && b.kind === 'counter') return joinCounters(a, b);
  if (a.kind === 'members' && b.kind === 'members') return joinMembers(a, b);
  throw new TypeError(`cannot join ${a.kind} with ${b.kind}`);
}

/** The small state that one operation of a record amounts to on its own. */
export function stateOf(record: LogRecord, idx: number, causal: boolean): KeyState {
  const operation = record.operations[idx]!;
  const { source, seq, ms, count } = record;
  switch (operation.op) {
    case 'put':
    case 'delete': {
      const version: Version = {
        kind: 'version',
        source,
        seq,
        idx,
        ms,
        count,
        version: operation.version,
        createdMs: operation.createdMs,
        expiresMs: operation.op === 'put' ? operation.expiresMs : 0,
        json: operation.op === 'put' ? operation.json : undefined,
        bytes: operation.op === 'put' ? operation.bytes : undefined,
        isConditional: operation.isConditional,
      };
      if (!causal) return version;
      return { kind: 'siblings', live: [version], context: cover(operation.context ?? [], version) };
    }
    case 'add': {
      const { reset, windowStartMs, windowMs, plus, minus, version, createdMs } = operation;
      const totals = [{ source, seq, idx, ms, count, plus, minus }];
      return { kind: 'counter', reset, windowStartMs, windowMs, totals, version, createdMs };
    }
    case 'reset': {
      const reset = { source, seq, idx, ms, count };
      return {
        kind: 'counter',
        reset,
        windowStartMs: 0,
        windowMs: 0,
        totals: [],
        version: operation.version,
        createdMs: ms,
      };
    }
    case 'members': {
      const members = operation.changes.map(({ member, present, context }): Member => {
        const mark = { source, seq, idx, ms, count, present };
        return { member, live: [mark], context: cover(context, mark) };
      });
      return { kind: 'members', members, version: operation.version, createdMs: operation.createdMs };
    }
  }
}

/** Whether a record's puts and deletes carry contexts: it does under `version-vector`. */
export function isCausal(operation: Operation): boolean {
  return (operation.op === 'put' || operation.op === 'delete') && operation.context !== undefined;
}

/** Whether a write is part of a context: itself, or overwritten by a later one of its source. */
export function covers(context: Context, dot: Dot): boolean {
  for (const entry of context) {
    if (entry.source === dot.source) return entry.seq > dot.seq || (entry.seq === dot.seq && entry.idx >= dot.idx);
    if (isFolded(entry.seq) && standsFor(entry, dot.source)) return true;
  }
  return false;
}

/** The context with one more write in it. */
export function cover(context: Context, { source, seq, idx }: Dot): Context {
  return joinContexts(context, [{ source, seq, idx }]);
}

export function joinContexts(a: Context, b: Context): Context {
  return withoutFolded(merge(a, b, (x, y) => compareSources(x.source, y.source), later));
}

/** A context in which everything that a vector has folded stands as one entry, as it does there. */
export function foldContext(context: Context, folds: readonly Head[]): Context {
  const used = folds.filter(({ source }) => context.filter((dot) => standsFor({ source }, dot.source)).length > 1);
  return used.reduce<Context>((folded, { source, seq }) => joinContexts(folded, [{ source, seq, idx: 0 }]), context);
}

/** Drops the entries that a folded one stands for. */
function withoutFolded(context: Context): Context {
  const folded = context.filter(({ seq }) => isFolded(seq));
  if (folded.length === 0) return context;
  return context.filter((dot) => !folded.some((entry) => entry !== dot && standsFor(entry, dot.source)));
}

/** Whether a folded entry stands for the records of a source. */
export const standsFor = ({ source: { origin, epoch } }: { readonly source: Source }, source: Source) =>
  source.origin === origin && source.epoch <= epoch;

const later = <T extends Dot>(x: T, y: T): T => ((x.seq - y.seq || x.idx - y.idx) >= 0 ? x : y);

function joinSiblings(a: Siblings, b: Siblings): Siblings {
  return { kind: 'siblings', ...joinLive(a, b) };
}

/** Dotted version vector sets (Almeida et al., "Scalable and Accurate Causality Tracking", 2014), joined. */
function joinLive<T extends Dot>(
  a: { readonly live: readonly T[]; readonly context: Context },
  b: { readonly live: readonly T[]; readonly context: Context },
): { live: readonly T[]; context: Context } {
  const held = (live: readonly T[], dot: T) => live.some((other) => compareDots(other, dot) === 0);
  const fromA = a.live.filter((dot) => !covers(b.context, dot) || held(b.live, dot));
  const fromB = b.live.filter((dot) => !covers(a.context, dot) || held(a.live, dot));
  return { live: merge(fromA, fromB, compareDots, (x) => x), context: joinContexts(a.context, b.context) };
}

function joinCounters(a: Counter, b: Counter): Counter {
  const version = Math.max(a.version, b.version);
  // A reset that nothing was added to has no window yet: whatever is added in one comes after it.
  const filled = Number(a.totals.length > 0) - Number(b.totals.length > 0);
  const order = compareResets(a.reset, b.reset) || filled || compareWindows(a, b);
  if (order !== 0) return { ...(order > 0 ? a : b), version };
  const totals = merge(a.totals, b.totals, (x, y) => compareSources(x.source, y.source), joinTotals);
  return { ...a, totals, version, createdMs: Math.min(a.createdMs, b.createdMs) };
}

/**
 * Order of windows: by their end, so that a window that follows an ended one of another length comes after it. Counting
 * without windows has no end.
 */
export function compareWindows(a: Window, b: Window): number {
  const [endA, endB] = [windowEndMs(a), windowEndMs(b)];
  return endA === endB ? a.windowStartMs - b.windowStartMs : endA - endB;
}

interface Window {
  readonly windowStartMs: number;
  readonly windowMs: number;
}

export function windowEndMs({ windowStartMs, windowMs }: Window): number {
  return windowMs === 0 ? Number.POSITIVE_INFINITY : windowStartMs + windowMs;
}

function joinTotals(x: Total, y: Total): Total {
  return { ...later(x, y), plus: Math.max(x.plus, y.plus), minus: Math.max(x.minus, y.minus) };
}

/** Order of resets; none comes before any. */
export function compareResets(a: Stamp | undefined, b: Stamp | undefined): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? -1 : 1;
  return compareStamps(a, b);
}

function joinMembers(a: Members, b: Members): Members {
  const members = merge(
    a.members,
    b.members,
    (x, y) => (x.member < y.member ? -1 : x.member > y.member ? 1 : 0),
    (x, y) => ({ member: x.member, ...joinLive(x, y) }),
  );
  return {
    kind: 'members',
    members,
    version: Math.max(a.version, b.version),
    createdMs: Math.min(a.createdMs, b.createdMs),
  };
}

/** Union of two sorted lists; `both` settles items that compare equal. */
function merge<T>(
  a: readonly T[],
  b: readonly T[],
  compare: (x: T, y: T) => number,
  both: (x: T, y: T) => T,
): readonly T[] {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const all: T[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const order = compare(a[i]!, b[j]!);
    if (order < 0) all.push(a[i++]!);
    else if (order > 0) all.push(b[j++]!);
    else all.push(both(a[i++]!, b[j++]!));
  }
  while (i < a.length) all.push(a[i++]!);
  while (j < b.length) all.push(b[j++]!);
  return all;
}
