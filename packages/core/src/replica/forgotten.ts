import { compareDots, type Dot, type Source } from './dot.ts';
import { headOf, moveHead } from './fold.ts';
import { join } from './join.ts';
import type { KeyState, Member } from './state.ts';

/**
 * What is left of a state once it is known how another member holds the key. Of a write that the other has applied, and
 * that its state does not show, something overwrote it there, and was purged since: joined as they are, the two states
 * would bring the write back. So the other's vector is taken for the context of all that it holds (Almeida et al.,
 * "Scalable and Accurate Causality Tracking", 2014), what it holds nothing of included.
 *
 * Counters grow and are forgotten whole: of one that the other still counts, nothing is taken away.
 *
 * @param theirs the other's state of the key; undefined: it has none
 * @param isCovered whether the other has applied a write, or what it was overwritten with
 * @returns the same object where nothing is forgotten
 */
export function withoutForgotten(
  state: KeyState,
  theirs: KeyState | undefined,
  isCovered: (dot: Dot) => boolean,
): KeyState | undefined {
  switch (state.kind) {
    case 'version': {
      const isShown = theirs?.kind === 'version' && compareDots(theirs, state) === 0;
      return isShown || !isCovered(state) ? state : undefined;
    }
    case 'siblings': {
      const live = standing(state.live, theirs?.kind === 'siblings' ? theirs.live : [], isCovered);
      if (live.length === state.live.length) return state;
      return live.length === 0 ? undefined : { ...state, live };
    }
    case 'counter':
      return theirs === undefined && state.reset === undefined && state.totals.every(isCovered) ? undefined : state;
    case 'members': {
      const shown = new Map(theirs?.kind === 'members' ? theirs.members.map((each) => [each.member, each.live]) : []);
      let isSame = true;
      const members: Member[] = [];
      for (const each of state.members) {
        const live = standing(each.live, shown.get(each.member) ?? [], isCovered);
        if (live.length === each.live.length) members.push(each);
        else {
          isSame = false;
          if (live.length > 0) members.push({ ...each, live });
        }
      }
      if (isSame) return state;
      return members.length === 0 ? undefined : { ...state, members };
    }
  }
}

/** How a member holds a key. */
export interface Held {
  readonly state: KeyState | undefined;
  /** What the member had applied: what these heads cover and the state does not show is forgotten there. */
  readonly heads: ReadonlyMap<Source, number>;
}

/** What whoever knows how two members hold a key holds of it: neither brings back what the other has forgotten. */
export function joinHeld(a: Held, b: Held): Held {
  const left = keptBeside(a, b);
  const right = keptBeside(b, a);
  const heads = new Map(a.heads);
  for (const [source, seq] of b.heads) moveHead(heads, source, seq);
  return { state: right === undefined ? left : join(left, right), heads };
}

const keptBeside = ({ state }: Held, other: Held) =>
  state && withoutForgotten(state, other.state, ({ source, seq }) => headOf(other.heads, source) >= seq);

function standing<T extends Dot>(live: readonly T[], theirs: readonly Dot[], isCovered: (dot: Dot) => boolean): T[] {
  return live.filter((dot) => !isCovered(dot) || theirs.some((other) => compareDots(other, dot) === 0));
}
