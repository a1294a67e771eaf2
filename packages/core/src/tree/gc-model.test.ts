import { describe, expect, test } from 'vitest';

/**
 * The rules of garbage collection as a model small enough to try every interleaving of: one writer that makes the ref
 * reach an object and let go of it again, and a collector that runs several times. `gc.ts` follows the sound rules; each
 * mutant leaves one of them out, as a system did that lost data.
 */
interface Rules {
  /** A put clears an object's mark even where the object was there already. */
  readonly putClearsMark: boolean;
  /** Only what an earlier run condemned, a grace ago, is deleted. */
  readonly condemnFirst: boolean;
  /** Marks are looked at again right before deleting. */
  readonly recheck: boolean;
  /** A writer looks for objects and links them in one turn of the queue that deletions wait in, too. */
  readonly lock: boolean;
  /** Whether an object exists is asked of the store, not of a memory of it. */
  readonly askStore: boolean;
}

const sound: Rules = { putClearsMark: true, condemnFirst: true, recheck: true, lock: true, askStore: true };

interface State {
  /** Objects in the store, and what a writer remembers to be there. */
  store: string;
  known: string;
  /** The object that the ref reaches besides `base`. */
  ref: '' | 'x';
  condemned: string;
  /** What each actor does next, and what it carries from one step to the next. */
  writer: number;
  found: string;
  collector: number;
  marked: string;
  doomed: string;
  locked: '' | 'w' | 'c';
}

/** The writer links `x`, unlinks it, links it again: each link is a look-up and a batch. */
const writerScript = ['look', 'link', 'unlink', 'look', 'link'] as const;
/** Three runs of the collector. */
const collectorScript = ['mark', 'sweep', 'delete', 'mark', 'sweep', 'delete', 'mark', 'sweep', 'delete'] as const;

const has = (set: string, id: string): boolean => set.includes(id);
const add = (set: string, id: string): string => (has(set, id) ? set : set + id);
const drop = (set: string, id: string): string => set.replace(id, '');

function stepWriter(state: State, rules: Rules): State | undefined {
  const action = writerScript[state.writer];
  if (action === undefined || state.locked === 'c') return undefined;
  const next = { ...state, writer: state.writer + 1 };
  if (action === 'look') {
    next.found = has(rules.askStore ? state.store : state.known, 'x') ? 'x' : '';
    if (rules.lock) next.locked = 'w';
  } else if (action === 'link') {
    // One batch: the object unless it was found, its mark, the ref.
    if (state.found === '') {
      next.store = add(state.store, 'x');
      next.condemned = drop(state.condemned, 'x');
    } else if (rules.putClearsMark) next.condemned = drop(state.condemned, 'x');
    next.known = add(state.known, 'x');
    next.ref = 'x';
    next.locked = '';
  } else next.ref = '';
  return next;
}

function stepCollector(state: State, rules: Rules): State | undefined {
  const action = collectorScript[state.collector];
  if (action === undefined) return undefined;
  const next = { ...state, collector: state.collector + 1 };
  if (action === 'mark') next.marked = state.ref;
  else if (action === 'sweep') {
    next.doomed = '';
    if (has(state.store, 'x') && !has(state.marked, 'x')) {
      if (!rules.condemnFirst || has(state.condemned, 'x')) next.doomed = 'x';
      else next.condemned = add(state.condemned, 'x');
    } else next.condemned = drop(state.condemned, 'x');
  } else {
    if (rules.lock && state.locked === 'w') return undefined;
    const still = !rules.recheck || !rules.condemnFirst || has(state.condemned, 'x');
    if (has(state.doomed, 'x') && still) {
      next.store = drop(state.store, 'x');
      next.condemned = drop(state.condemned, 'x');
    }
    next.doomed = '';
  }
  return next;
}

/** Tries every interleaving. @returns a schedule after which the ref reaches an object that is gone; undefined: none. */
function findLoss(rules: Rules): { loss: string[] | undefined; states: number } {
  const start: State = {
    store: 'x',
    known: 'x',
    ref: '',
    condemned: '',
    writer: 0,
    found: '',
    collector: 0,
    marked: '',
    doomed: '',
    locked: '',
  };
  const seen = new Set<string>();
  const open: { state: State; trail: string[] }[] = [{ state: start, trail: [] }];
  for (let at = open.shift(); at !== undefined; at = open.shift()) {
    const { state, trail } = at;
    const key = JSON.stringify(state);
    if (seen.has(key)) continue;
    seen.add(key);
    if (state.ref === 'x' && !has(state.store, 'x')) return { loss: trail, states: seen.size };
    const writer = stepWriter(state, rules);
    if (writer !== undefined) open.push({ state: writer, trail: [...trail, `writer: ${writerScript[state.writer]}`] });
    const collector = stepCollector(state, rules);
    if (collector !== undefined) {
      open.push({ state: collector, trail: [...trail, `collector: ${collectorScript[state.collector]}`] });
    }
  }
  return { loss: undefined, states: seen.size };
}

describe('the rules of collection', () => {
  test('lose nothing in any interleaving of a writer and three runs', () => {
    const { loss, states } = findLoss(sound);
    expect(loss).toBe(undefined);
    expect(states).toBeGreaterThan(150);
  });

  test('still collect what nothing reaches', () => {
    let state: State | undefined = {
      ...({} as State),
      store: 'x',
      known: 'x',
      ref: '',
      condemned: '',
      writer: 9,
      found: '',
      collector: 0,
      marked: '',
      doomed: '',
      locked: '',
    };
    for (let next: State | undefined = state; next !== undefined; next = stepCollector(next, sound)) state = next;
    expect(state.store).toBe('');
  });

  test.each<[string, Partial<Rules>]>([
    [
      'git: an object that exists already is linked without renewing it (git-gc, notes on races)',
      { putClearsMark: false },
    ],
    ['OCI distribution: what the mark did not reach is swept at once (distribution#3045)', { condemnFirst: false }],
    ['ostree: the prune deletes from the list it made, while a commit links (ostree#2474)', { recheck: false }],
    ['ostree: a commit looks for objects outside the lock (ostree#2337)', { lock: false }],
    ['irmin: the index remembers an object that was collected (irmin#2067)', { askStore: false }],
  ])('lose data once one of them is left out, as in %s', (_, mutation) => {
    expect(findLoss({ ...sound, ...mutation }).loss).toBeDefined();
  });
});
