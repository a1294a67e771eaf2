import { describe, expect, test } from 'vitest';

/**
 * A second model of collection, beside `gc-model.test.ts`: a commit `c` and an object `x` that it names, which a large
 * update writes ahead of it. Asked for by its id, `c` brings `x` back without putting it: "what is
 * condemned is gone for whoever asks" must hold for `x` wherever it holds for `c`, and only there. Every interleaving of
 * the two actors is tried, with `c` before and behind `x` in the order of the sweep.
 */
interface Rules {
  /** What was put since the mark began is not condemned: the mark could not reach it. */
  readonly spareNew: boolean;
}

interface State {
  readonly writer: number;
  readonly collector: number;
  readonly store: string;
  readonly condemned: string;
  readonly ref: '' | 'c';
  /** Of the run under way: condemned before it, reached by its mark, in the store at its scan, put since its mark. */
  readonly earlier: string;
  readonly marked: string;
  readonly seen: string;
  readonly fresh: string;
  /** While the writer is between `ahead` and `link`, which are one turn of the queue. */
  readonly isWriting: boolean;
}

const writerScript = ['ahead', 'link', 'unlink', 'restore'] as const;
const runOf = (order: string) => ['begin', 'mark', 'scan', ...order];
const has = (set: string, id: string): boolean => set.includes(id);
const add = (set: string, id: string): string => (has(set, id) ? set : set + id);
const drop = (set: string, id: string): string => set.replace(id, '');

function put(state: State, id: string): State {
  const { store, condemned, fresh } = state;
  return { ...state, store: add(store, id), condemned: drop(condemned, id), fresh: add(fresh, id) };
}

function stepWriter(state: State): State | undefined {
  const action = writerScript[state.writer];
  if (action === undefined) return undefined;
  const next = { ...state, writer: state.writer + 1 };
  if (action === 'ahead') return { ...put(next, 'x'), isWriting: true };
  // One batch: the commit, the ref, and the marks of all that the update made are taken back.
  if (action === 'link') {
    return { ...put({ ...next, condemned: drop(next.condemned, 'x') }, 'c'), ref: 'c', isWriting: false };
  }
  if (action === 'unlink') return { ...next, ref: '' };
  const isThere = has(state.store, 'c') && !has(state.condemned, 'c');
  return isThere ? { ...next, ref: 'c' } : next;
}

/** Runs are further apart than a grace; retention keeps nothing but what the ref reaches. */
function stepCollector(state: State, rules: Rules, script: readonly string[]): State | undefined {
  const action = script[state.collector];
  if (action === undefined) return undefined;
  const next = { ...state, collector: state.collector + 1 };
  if (action === 'mark') return { ...next, earlier: state.condemned, marked: state.ref === 'c' ? 'cx' : '' };
  if (action === 'scan') return { ...next, seen: state.store };
  // These take turns with writers.
  if (state.isWriting) return undefined;
  if (action === 'begin') return { ...next, fresh: '' };
  if (!has(state.seen, action)) return next;
  if (has(state.marked, action)) return { ...next, condemned: drop(state.condemned, action) };
  if (has(state.earlier, action)) {
    if (!has(state.condemned, action)) return next;
    return { ...next, store: drop(state.store, action), condemned: drop(state.condemned, action) };
  }
  if (rules.spareNew && has(state.fresh, action)) return next;
  return { ...next, condemned: add(state.condemned, action) };
}

/** @returns a schedule after which the ref reaches an object that is gone; undefined: there is none */
function findLoss(rules: Rules, order: string): string[] | undefined {
  const script = [...runOf(order), ...runOf(order), ...runOf(order)];
  const start: State = {
    writer: 0,
    collector: 0,
    store: '',
    condemned: '',
    ref: '',
    earlier: '',
    marked: '',
    seen: '',
    fresh: '',
    isWriting: false,
  };
  const seen = new Set<string>();
  const open: { state: State; trail: string[] }[] = [{ state: start, trail: [] }];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const { state, trail } = at;
    const key = JSON.stringify(state);
    if (seen.has(key)) continue;
    seen.add(key);
    if (state.ref === 'c' && !(has(state.store, 'c') && has(state.store, 'x'))) return trail;
    const writer = stepWriter(state);
    if (writer !== undefined) open.push({ state: writer, trail: [...trail, `writer: ${writerScript[state.writer]}`] });
    const collector = stepCollector(state, rules, script);
    if (collector !== undefined)
      open.push({ state: collector, trail: [...trail, `collector: ${script[state.collector]}`] });
  }
  return undefined;
}

describe('objects that are written ahead of the commit that names them', () => {
  test.each(['cx', 'xc'])('are lost in no interleaving with three runs that sweep in the order %s', (order) => {
    expect(findLoss({ spareNew: true }, order)).toBe(undefined);
  });

  test('are lost where a run condemns what was put since its mark', () => {
    const losses = ['cx', 'xc'].map((order) => findLoss({ spareNew: false }, order));
    expect(losses.some((loss) => loss !== undefined)).toBe(true);
  });
});
