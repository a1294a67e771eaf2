import type { Cell } from '../cell.ts';
import type { Commit } from '../events.ts';
import type { Replica } from '../replica.ts';
import type { SupersededWrite } from '../superseded.ts';

/** What a follower is told, before it is put into words. `token` is where to go on from once it was told. */
export type FeedEvent =
  /** What a key holds, or that it holds nothing. */
  | { readonly type: 'change'; readonly key: string; readonly cell: Cell; readonly token: string }
  | {
      readonly type: 'superseded';
      readonly key: string;
      readonly loser: SupersededWrite;
      readonly winner: Cell;
      readonly token: string;
    }
  /** Events may have been missed: everything there is follows, then a bookmark. */
  | { readonly type: 'resync'; readonly token: string }
  | { readonly type: 'bookmark'; readonly token: string }
  /** A fact that cannot be read. Its key is undefined where not even that can be told. */
  | { readonly type: 'damaged'; readonly key: string | undefined; readonly token: string };

/** What a follower of keys is told of a commit, in order. Until all of it is told, tokens lead back before it. */
export function* eventsOf(
  { number, record, changes }: Commit,
  matches: (key: string) => boolean,
  replica: Pick<Replica, 'tokenOf'>,
): Generator<FeedEvent, void, void> {
  const matching = changes.filter(({ key, effect }) => effect !== 'none' && matches(key));
  for (const [i, { key, cell, superseded }] of matching.entries()) {
    // First what was lost, then what stands: the last word on a key is what it holds.
    if (superseded !== undefined) {
      const token = replica.tokenOf(record, number, true);
      yield { type: 'superseded', key, loser: superseded, winner: cell, token };
    }
    yield { type: 'change', key, cell, token: replica.tokenOf(record, number, i < matching.length - 1) };
  }
}
