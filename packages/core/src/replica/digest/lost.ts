import { Cell } from '../cell.ts';
import { compareDots, type Dot } from '../dot.ts';
import { coversDot, type Heads } from '../exchange/vectors.ts';
import { join } from '../join.ts';
import { liveDots } from '../resolve.ts';
import type { KeyState, Strategy } from '../state.ts';
import type { Cuts } from './cuts.ts';
import type { Items } from './items.ts';

/**
 * Whether a peer's state of a key brings something that this instance once had and lost: writes that its vector covers,
 * that its state does not tell of, and that no housekeeping can have removed. What the vector does not cover yet is on
 * its way by the log, and what lies below the cuts may be purged here.
 * @param heads the vector as it was before `ours` was read
 */
export function isLost(
  key: string,
  ours: Cell,
  theirs: KeyState,
  rules: { readonly strategy: Strategy; readonly heads: Heads; readonly cuts: Cuts; readonly items: Items },
): boolean {
  const state = join(ours.state, theirs);
  if (state === ours.state) return false;
  const known = ours.state === undefined ? [] : liveDots(ours.state);
  const isNew = (dot: Dot) => known.every((each) => compareDots(each, dot) !== 0);
  if (!liveDots(state).every((dot) => coversDot(rules.heads, dot) || !isNew(dot))) return false;
  return rules.items.differ(key, ours, new Cell(state, 0, rules.strategy), rules.cuts);
}
