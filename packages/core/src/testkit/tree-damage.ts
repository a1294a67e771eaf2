import { isIpeError } from '../errors.ts';
import type { Kv, KvOperation } from '../store/index.ts';
import type { PolicyFamily, PolicyStore } from '../tree/index.ts';
import { assertTrue } from './assert.ts';
import type { TreeFixture } from './tree-fixture.ts';

/** A row of a store, as it is or damaged. */
export interface StoredRow {
  readonly family: PolicyFamily;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** One damage: the rows of a store with one of them changed. */
export interface Damage {
  readonly name: string;
  readonly family: PolicyFamily;
  readonly part: 'key' | 'value';
  readonly rows: readonly StoredRow[];
}

/** What came of a damaged store. */
export interface DamageOutcome {
  /** Whether the damage was told: at the start, by a refusal, by a rebuilt index or by verification. */
  readonly told: boolean;
  /** Whether any question was refused. */
  readonly refused: boolean;
}

/** A small store with all there is, which is damaged, asked everything, and made whole again. */
export interface DamageCheck {
  readonly rows: readonly StoredRow[];
  /** What the undamaged store answers, by question, at start and once its index is loaded; `refused` for none of them. */
  readonly truth: Readonly<Record<string, string>>;
  /**
   * Opens a store of such rows and asks it everything.
   * @throws Error where an answer is neither the true one nor a refusal
   */
  tryRows(rows: readonly StoredRow[]): Promise<DamageOutcome>;
  /** What the store in another `Kv` answers, by question; all `refused` where it does not open. */
  ask(kv: Kv<PolicyFamily>): Promise<Readonly<Record<string, string>>>;
}

/** @param kv  empty, of the families of a policy store; the caller closes it */
export async function damageCheck(fixture: TreeFixture, kv: Kv<PolicyFamily>): Promise<DamageCheck> {
  const { apply, open, openAtOnce, put } = fixture;
  const whole = await open(kv);
  await apply(whole, [put('a.b', `one ${'long '.repeat(120)}`, 'tests'), put('c', '1')]);
  await apply(whole, [put('a.b', 'two'), { path: 'c', delete: true }]);
  await whole.pin('kept', (await whole.log()).items[1]!.commit);
  const rows = await rowsOf(kv);
  await whole.close();
  const truth = await answersOf(await openAtOnce(kv, { cacheBytes: 0 }));
  const ask = async (other: Kv<PolicyFamily>): Promise<Record<string, string>> => {
    try {
      return await answersOf(await openAtOnce(other, { cacheBytes: 0 }));
    } catch (error) {
      if (!isIpeError(error) || !['corrupt', 'unavailable'].includes(error.reason)) throw error;
      return Object.fromEntries(Object.keys(truth).map((question) => [question, 'refused']));
    }
  };
  return {
    rows,
    truth,
    ask,
    async tryRows(damaged) {
      await setRows(kv, damaged);
      let store: PolicyStore;
      try {
        store = await openAtOnce(kv, { cacheBytes: 0 });
      } catch (error) {
        assertTrue(isIpeError(error) && ['corrupt', 'unavailable'].includes(error.reason), String(error));
        return { told: true, refused: true };
      }
      let refused = false;
      for (const [name, answer] of Object.entries(await answersOf(store))) {
        if (answer === 'refused') refused = true;
        else assertTrue(answer === truth[name], `\`${name}\` was answered with ${answer}`);
      }
      const told = refused || store.status().indexRebuilt !== null || (await store.verify()).problemCount > 0;
      return { told, refused };
    },
  };
}

/** One bit flipped, in turn in every byte of every key and value. */
export function* flippedBits(rows: readonly StoredRow[]): Generator<Damage> {
  for (const [i, row] of rows.entries())
    for (const part of ['key', 'value'] as const)
      for (let at = 0; at < row[part].length; at++) {
        const flipped = row[part].with(at, row[part][at]! ^ (1 << (at % 8)));
        const name = `row ${i} of ${row.family}, ${part}, byte ${at}`;
        yield { name, family: row.family, part, rows: rows.with(i, { ...row, [part]: flipped }) };
      }
}

/**
 * Holds an outcome to what must be told: all damage of objects and of the index; and damaged values of the index refuse
 * nothing, because the index is rebuilt. What the metadata say is either derived again or held by a digest.
 * @throws Error
 */
export function assertTold({ name, family, part }: Damage, { told, refused }: DamageOutcome): void {
  if (family !== 'metadata') assertTrue(told, `${name}: the damage was not told`);
  if (family === 'path_index' && part === 'value')
    assertTrue(!refused, `${name}: an index that can be rebuilt refused`);
}

async function rowsOf(kv: Kv<PolicyFamily>): Promise<StoredRow[]> {
  const rows: StoredRow[] = [];
  for (const family of kv.families)
    for await (const [key, value] of kv.entries(family)) rows.push({ family, key, value });
  return rows;
}

/** Makes a store hold these rows and no others. */
async function setRows(kv: Kv<PolicyFamily>, rows: readonly StoredRow[]): Promise<void> {
  const name = ({ family, key }: Pick<StoredRow, 'family' | 'key'>) => `${family} ${String.fromCharCode(...key)}`;
  const isSame = (a: Uint8Array, b: Uint8Array) => a.length === b.length && a.every((byte, i) => byte === b[i]);
  const wanted = new Map(rows.map((row) => [name(row), row]));
  const operations: KvOperation<PolicyFamily>[] = [];
  for (const row of await rowsOf(kv)) {
    const next = wanted.get(name(row));
    if (next === undefined) operations.push({ type: 'delete', family: row.family, key: row.key });
    else if (isSame(next.value, row.value)) wanted.delete(name(row));
  }
  for (const row of wanted.values()) operations.push({ type: 'put', ...row });
  if (operations.length > 0) await kv.write(operations);
}

/**
 * What a store answers to every kind of question, all asked at once while its index is loaded, and again one by one
 * afterwards; an expected refusal answers `refused`.
 */
async function answersOf(store: PolicyStore): Promise<Record<string, string>> {
  const questions: Record<string, () => Promise<unknown>> = {
    list: () => store.current().listPolicies(),
    subtree: () => store.current().getSubtree(''),
    below: () => store.current().policiesBelow(''),
    read: () => store.current().readPolicy('a.b'),
    gone: () => store.current().lookup('c'),
    old: async () => (await store.at('kept')).getSubtree(''),
    oldRead: async () => (await store.at('kept')).readPolicy('a.b'),
    log: () => store.log(),
    history: () => store.history('a.b'),
    removed: () => store.history('c'),
    last: () => store.current().lastChange('a'),
    diff: () => store.diff('kept', 'main', { patches: true }),
    proof: () => store.prove('a.b'),
  };
  const answer = async (ask: () => Promise<unknown>): Promise<string> => {
    try {
      return JSON.stringify(await ask());
    } catch (error) {
      if (!isIpeError(error) || error.reason !== 'corrupt') throw error;
      return 'refused';
    }
  };
  const atStart = Object.entries(questions).map(
    async ([name, ask]) => [`${name} at start`, await answer(ask)] as const,
  );
  const found: Record<string, string> = Object.fromEntries(await Promise.all(atStart));
  found['ready'] = await answer(() => store.ready());
  for (const [name, ask] of Object.entries(questions)) found[name] = await answer(ask);
  return found;
}
