import { compareStamps, type Dot } from './dot.ts';
import type { Counter, KeyState, Members, Siblings, Strategy, Version } from './state.ts';

/** What readers get from a state, time aside: from `expiresMs` on they take it for absent. */
export interface View {
  /** `siblings`: several values stand, and the namespace leaves the choice to the application. */
  readonly kind: 'absent' | 'value' | 'siblings';
  readonly version: number;
  readonly createdMs: number;
  readonly updatedMs: number;
  /** 0: never. */
  readonly expiresMs: number;
  readonly json: string | undefined;
  readonly bytes: Uint8Array | undefined;
  /** The versions to choose from, latest first; tombstones among them. Empty unless `siblings`. */
  readonly siblings: readonly Version[];
}

/** A pure function of the state: equal states read the same on every instance. */
export function resolve(state: KeyState, strategy: Strategy): View {
  switch (state.kind) {
    case 'version':
      return viewOf(state);
    case 'siblings':
      return resolveSiblings(state, strategy.kind === 'version-vector' ? strategy.resolver : 'revoke-wins');
    case 'counter':
      return resolveCounter(state);
    case 'members':
      return resolveMembers(state, strategy.kind === 'set' ? strategy.resolver : 'add-wins');
  }
}

/** The highest version number in a state. */
export function versionOf(state: KeyState): number {
  if (state.kind !== 'siblings') return state.version;
  return state.live.reduce((highest, { version }) => Math.max(highest, version), 0);
}

/** The writes that a state consists of. Their tag is the etag. */
export function liveDots(state: KeyState): readonly Dot[] {
  switch (state.kind) {
    case 'version':
      return [state];
    case 'siblings':
      return state.live;
    case 'counter':
      return state.reset === undefined ? state.totals : [state.reset, ...state.totals];
    case 'members': {
      const dots = new Map<string, Dot>();
      for (const { live } of state.members)
        for (const dot of live) dots.set(`${dot.source.id}:${dot.seq}:${dot.idx}`, dot);
      return [...dots.values()];
    }
  }
}

/** Every write whose memory the state is: what it holds and what it knows to be overwritten. */
export function everyDot(state: KeyState): readonly Dot[] {
  switch (state.kind) {
    case 'version':
    case 'counter':
      return liveDots(state);
    case 'siblings':
      return state.context;
    case 'members':
      return state.members.flatMap(({ context }) => context);
  }
}

/** The highest hybrid time in a state: what a write that overwrites it must exceed. */
export function latestOf(state: KeyState): { readonly ms: number; readonly count: number } {
  if (state.kind === 'version') return state;
  let latest = { ms: 0, count: 0 };
  const see = (time: { readonly ms: number; readonly count: number }) => {
    if (time.ms > latest.ms || (time.ms === latest.ms && time.count > latest.count)) latest = time;
  };
  if (state.kind === 'siblings') state.live.forEach(see);
  else if (state.kind === 'members') for (const { live } of state.members) live.forEach(see);
  else {
    if (state.reset !== undefined) see(state.reset);
    state.totals.forEach(see);
  }
  return latest;
}

export function isTombstone(version: Version): boolean {
  return version.json === undefined && version.bytes === undefined;
}

const none: readonly Version[] = [];

function viewOf(version: Version): View {
  return {
    kind: isTombstone(version) ? 'absent' : 'value',
    version: version.version,
    createdMs: version.createdMs,
    updatedMs: version.ms,
    expiresMs: version.expiresMs,
    json: version.json,
    bytes: version.bytes,
    siblings: none,
  };
}

function resolveSiblings(state: Siblings, resolver: 'revoke-wins' | 'add-wins' | 'siblings'): View {
  const first = state.live[0];
  if (first !== undefined && state.live.length === 1) return viewOf(first);
  const latestFirst = [...state.live].sort((a, b) => compareStamps(b, a));
  const puts = latestFirst.filter((version) => !isTombstone(version));
  const shared = { version: versionOf(state), updatedMs: latestFirst[0]?.ms ?? 0 };
  const winner = winnerOf(latestFirst, resolver);
  if (winner === undefined || isTombstone(winner)) {
    const createdMs = winner?.createdMs ?? 0;
    return { kind: 'absent', ...shared, createdMs, expiresMs: 0, json: undefined, bytes: undefined, siblings: none };
  }
  if (resolver === 'siblings') {
    const expiresMs = puts.every((put) => put.expiresMs !== 0) ? Math.max(...puts.map((put) => put.expiresMs)) : 0;
    const { createdMs } = winner;
    return {
      kind: 'siblings',
      ...shared,
      createdMs,
      expiresMs,
      json: undefined,
      bytes: undefined,
      siblings: latestFirst,
    };
  }
  // A grant lives no longer than the shortest of the writes that stand side by side.
  const ends =
    resolver === 'revoke-wins' ? puts.map((put) => put.expiresMs).filter((ms) => ms !== 0) : [winner.expiresMs];
  return { ...viewOf(winner), ...shared, expiresMs: ends.length === 0 ? 0 : Math.min(...ends) };
}

/** The version that stands for all of them where one has to; with `siblings`, the latest value. */
function winnerOf(
  latestFirst: readonly Version[],
  resolver: 'revoke-wins' | 'add-wins' | 'siblings',
): Version | undefined {
  const tombstone = latestFirst.find(isTombstone);
  const put = latestFirst.find((version) => !isTombstone(version));
  return resolver === 'revoke-wins' ? (tombstone ?? put) : (put ?? tombstone);
}

/**
 * The one write that readers see of a state, a deletion included. Undefined where they see several, or where the state
 * is made of all of its writes (counters, sets).
 */
export function standing(state: KeyState, strategy: Strategy): Version | undefined {
  if (state.kind === 'version') return state;
  if (state.kind !== 'siblings' || strategy.kind !== 'version-vector') return undefined;
  if (state.live.length < 2) return state.live[0];
  if (strategy.resolver === 'siblings') return undefined;
  return winnerOf(
    [...state.live].sort((a, b) => compareStamps(b, a)),
    strategy.resolver,
  );
}

function resolveCounter(state: Counter): View {
  const { version, createdMs, windowStartMs, windowMs, totals } = state;
  const sum = totals.reduce((total, { plus, minus }) => total + plus - minus, 0);
  return {
    kind: totals.length === 0 ? 'absent' : 'value',
    version,
    createdMs,
    updatedMs: latestOf(state).ms,
    expiresMs: windowMs === 0 ? 0 : windowStartMs + windowMs,
    json: totals.length === 0 ? undefined : String(sum),
    bytes: undefined,
    siblings: none,
  };
}

function resolveMembers(state: Members, resolver: 'add-wins' | 'remove-wins'): View {
  const present = state.members.filter(({ live }) =>
    resolver === 'add-wins' ? live.some((mark) => mark.present) : live.length > 0 && live.every((mark) => mark.present),
  );
  return {
    kind: present.length === 0 ? 'absent' : 'value',
    version: state.version,
    createdMs: state.createdMs,
    updatedMs: latestOf(state).ms,
    expiresMs: 0,
    json: present.length === 0 ? undefined : `[${present.map(({ member }) => member).join(',')}]`,
    bytes: undefined,
    siblings: none,
  };
}
