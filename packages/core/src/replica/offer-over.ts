import { Cell } from './cell.ts';
import type { Stamp } from './dot.ts';
import { covers, joinContexts, stateOf } from './join.ts';
import type { LogRecord, PutOperation } from './record.ts';
import { isTombstone, standing } from './resolve.ts';
import type { Context, Member, Siblings, Strategy } from './state.ts';

/**
 * What is over, deleted or expired, members forget once all hold it, without waiting for what a returning member is
 * still to offer. An offer that stood beside it would lose where it is remembered and stand alone where it is not. So it
 * takes part as one that has seen all of it, or not at all. What will expire counts too: it may be forgotten where a clock
 * is ahead, or before the offer arrives.
 */
export type BesideOver =
  | 'superseded'
  | 'parked'
  | {
      readonly context: Context;
      /** When it ends, where that is sooner than it says itself. */
      readonly expiresMs?: number;
    };

interface Site {
  readonly strategy: Strategy;
  /** The readers' clock. */
  readonly readMs: number;
}

/**
 * What becomes of an offered put beside what others wrote to its key.
 * @param operation with the context that it is offered with
 */
export function putBeside(
  state: Siblings,
  record: LogRecord,
  operation: PutOperation & { readonly context: Context },
  { strategy, readMs }: Site,
): BesideOver {
  const { context, expiresMs } = operation;
  const view = new Cell(state, 0, strategy).seenAt(readMs);
  const endsMs = view === undefined ? readMs : view.expiresMs;
  const isSooner = expiresMs !== 0 && expiresMs <= endsMs;
  const isApplications = 'resolver' in strategy && strategy.resolver === 'siblings';
  const seenAll = joinContexts(context, state.context);
  // Both are over. What is written over this one alone, where the other is forgotten, would leave that elsewhere.
  if (isSooner && view === undefined) return { context: seenAll };
  // Nobody forgets what stands here, or who does takes the put for expired.
  if (endsMs === 0 || (isSooner && !isApplications)) return { context };
  const small = stateOf({ ...record, operations: [operation] }, 0, true) as Siblings;
  const joined: Siblings = {
    kind: 'siblings',
    live: [...state.live.filter((dot) => !covers(context, dot)), ...small.live],
    context: joinContexts(state.context, small.context),
  };
  if (!isSooner && new Cell(joined, 0, strategy).seenAt(endsMs) === undefined) {
    const isShown = view !== undefined && standing(joined, strategy) === small.live[0];
    return isShown ? { context: seenAll, expiresMs: endsMs } : 'superseded';
  }
  // A conflict between a value and a deletion, or between two values of which one will expire, is the application's to
  // settle, and would not be seen everywhere.
  const isConflict = isApplications && (view === undefined ? joined.live.some(isTombstone) : joined.live.length > 1);
  return isConflict ? 'parked' : { context: seenAll };
}

/** What becomes of a member that is offered, beside what others made of it. */
export function memberBeside(held: Member, context: Context, strategy: Strategy): Exclude<BesideOver, 'parked'> {
  const isAdded = ({ present }: Stamp & { readonly present: boolean }) => present;
  const isRemoveWins = 'resolver' in strategy && strategy.resolver === 'remove-wins';
  if (isRemoveWins ? held.live.every(isAdded) : held.live.some(isAdded)) return { context };
  if (isRemoveWins && held.live.some((mark) => !mark.present && !covers(context, mark))) return 'superseded';
  return { context: joinContexts(context, held.context) };
}

/**
 * The context of an offered deletion or removal. Beside what is over it has seen that: stood they side by side where both
 * are remembered, what is offered or written over the one alone, where the other is forgotten, would not settle both.
 */
export const deletionBeside = (isOver: boolean, held: Context, context: Context): Context =>
  isOver ? joinContexts(context, held) : context;

/** Whether a deletion, where it is offered, stands beside what is over, or what it ends before that expires. */
export function isOverBeside(state: Siblings, { strategy, readMs }: Site): boolean {
  const view = new Cell(state, 0, strategy).seenAt(readMs);
  const isRevokeWins = 'resolver' in strategy && strategy.resolver === 'revoke-wins';
  return view === undefined || (isRevokeWins && view.expiresMs !== 0);
}
