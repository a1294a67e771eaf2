import { isIpeError } from '../errors.ts';
import type { Kv, KvEntry, KvOperation, KvRange, KvRead } from '../store/kv.ts';
import { assertDeepEqual, assertRejects, assertTrue } from './assert.ts';

/** The families every store under test is opened with. */
export const kvTestFamilies = ['alpha', 'beta', 'gamma'] as const;
export type KvTestFamily = (typeof kvTestFamilies)[number];

/** What a backend hands to `runKvConformance`. */
export interface KvConformanceOptions {
  /** The test runner: registers a named case. vitest's and node:test's `test` fit. */
  readonly test: (title: string, body: () => Promise<void>) => void;
  /** Opens an empty store with `kvTestFamilies`. Called once a case. */
  readonly open: () => Promise<Kv<KvTestFamily>>;
  /** Opens what the last `open` or `reopen` left behind after its close. Absent: nothing outlives the store. */
  readonly reopen?: () => Promise<Kv<KvTestFamily>>;
  /** Removes what `open` made. Called after every case, with the store closed. */
  readonly destroy?: () => Promise<void>;
  /** Cases that do not apply, by title, with the reason. They are registered and pass without running. */
  readonly skip?: Readonly<Record<string, string>>;
}

/**
 * Registers the cases that every `Kv` must pass.
 *
 * @example
 * runKvConformance({ test, open: async () => openMemoryKv({ families: kvTestFamilies }) });
 */
export function runKvConformance(options: KvConformanceOptions): void {
  for (const [title, body] of Object.entries(cases)) {
    const reason = options.skip?.[title];
    if (reason !== undefined) {
      options.test(`${title} (not asked of this store: ${reason})`, async () => {});
      continue;
    }
    options.test(title, async () => {
      const opened: Kv<KvTestFamily>[] = [];
      const track = async (opening: Promise<Kv<KvTestFamily>>) => {
        const kv = await opening;
        opened.push(kv);
        return kv;
      };
      try {
        const kv = await track(options.open());
        await body(kv, options.reopen && (() => track(options.reopen!())));
      } finally {
        for (const kv of opened) await kv.close();
        await options.destroy?.();
      }
    });
  }
}

type Case = (kv: Kv<KvTestFamily>, reopen: (() => Promise<Kv<KvTestFamily>>) | undefined) => Promise<void>;

const cases: Readonly<Record<string, Case>> = {
  'a store starts empty and names its families': async (kv) => {
    assertDeepEqual(kv.families, [...kvTestFamilies]);
    for (const family of kvTestFamilies) assertDeepEqual(await read(kv, family), []);
    assertDeepEqual(await kv.get('alpha', bytes(1)), undefined);
  },

  'what was put is read back and what was deleted is gone': async (kv) => {
    await kv.write([put('alpha', [1], [10]), put('alpha', [2], [20])]);
    assertDeepEqual(await kv.get('alpha', bytes(1)), bytes(10));
    await kv.write([remove('alpha', [1]), put('alpha', [2], [21]), remove('alpha', [9])]);
    assertDeepEqual(await kv.get('alpha', bytes(1)), undefined);
    assertDeepEqual(await kv.get('alpha', bytes(2)), bytes(21));
    assertDeepEqual(await read(kv, 'alpha'), [pair([2], [21])]);
  },

  'families do not see each other': async (kv) => {
    await kv.write([put('alpha', [1], [10]), put('beta', [1], [11])]);
    assertDeepEqual(await kv.get('alpha', bytes(1)), bytes(10));
    assertDeepEqual(await kv.get('beta', bytes(1)), bytes(11));
    assertDeepEqual(await kv.get('gamma', bytes(1)), undefined);
    await kv.write([remove('alpha', [1])]);
    assertDeepEqual(await kv.get('beta', bytes(1)), bytes(11));
  },

  'getMany answers in the order of the keys, absent and repeated ones included': async (kv) => {
    await kv.write([put('alpha', [1], [10]), put('alpha', [2], [20])]);
    const keys = [bytes(2), bytes(7), bytes(1), bytes(2)];
    assertDeepEqual(await kv.getMany('alpha', keys), [bytes(20), undefined, bytes(10), bytes(20)]);
    assertDeepEqual(await kv.getMany('alpha', []), []);
    const many = Array.from({ length: 500 }, (_, i) => bytes(i >> 8, i & 255));
    await kv.write(many.map((key) => ({ type: 'put', family: 'beta', key, value: key })));
    assertDeepEqual(await kv.getMany('beta', many), many);
    assertDeepEqual(await Promise.all(many.map((key) => kv.get('beta', key))), many);
  },

  'keys are ordered as unsigned bytes, a prefix before what it begins': async (kv) => {
    const keys = [[], [0], [0, 0], [0, 255], [1], [127], [128], [128, 0], [255], [255, 255]];
    await kv.write(keys.toReversed().map((key) => put('alpha', key, key)));
    assertDeepEqual(
      await read(kv, 'alpha'),
      keys.map((key) => pair(key, key)),
    );
    assertDeepEqual(
      await read(kv, 'alpha', { reverse: true }),
      keys.toReversed().map((key) => pair(key, key)),
    );
  },

  'empty keys and empty values are kept apart from absent ones': async (kv) => {
    await kv.write([put('alpha', [], [1]), put('alpha', [1], [])]);
    assertDeepEqual(await kv.get('alpha', bytes()), bytes(1));
    assertDeepEqual(await kv.get('alpha', bytes(1)), bytes());
    assertDeepEqual(await kv.getMany('alpha', [bytes(1), bytes(2)]), [bytes(), undefined]);
    assertDeepEqual(await read(kv, 'alpha'), [pair([], [1]), pair([1], [])]);
    await kv.write([remove('alpha', [])]);
    assertDeepEqual(await kv.get('alpha', bytes()), undefined);
  },

  'keys of 4 KiB and values of 4 MiB come back byte for byte': async (kv) => {
    const key = pattern(4096, 7);
    const value = pattern(4 * 1024 * 1024, 13);
    await kv.write([{ type: 'put', family: 'alpha', key, value }]);
    assertTrue(same((await kv.get('alpha', key))!, value), 'the value differs');
    const [entry] = await read(kv, 'alpha');
    assertTrue(same(entry![0], key) && same(entry![1], value), 'the entry differs');
  },

  'range bounds include and exclude as named, alone and together': async (kv) => {
    const keys = [[], [1], [1, 0], [2], [3], [255]];
    await kv.write(keys.map((key) => put('alpha', key, [0])));
    const bounds = [undefined, [], [0], [1], [1, 0], [2], [4], [255], [255, 0]];
    for (const low of bounds)
      for (const high of bounds)
        for (const lowerName of ['gt', 'gte'] as const)
          for (const upperName of ['lt', 'lte'] as const)
            for (const reverse of [false, true]) {
              const range: KvRange = {
                ...(low && { [lowerName]: bytes(...low) }),
                ...(high && { [upperName]: bytes(...high) }),
                reverse,
              };
              const within = keys.filter((key) => inRange(key, low, lowerName, high, upperName));
              const found = (await read(kv, 'alpha', range)).map(([key]) => [...key]);
              assertDeepEqual(found, reverse ? within.toReversed() : within, JSON.stringify([low, high, range]));
            }
  },

  'the tighter of two bounds on one side holds': async (kv) => {
    await kv.write([1, 2, 3, 4, 5].map((n) => put('alpha', [n], [n])));
    const range = { gt: bytes(1), gte: bytes(3), lt: bytes(5), lte: bytes(5) };
    assertDeepEqual(await read(kv, 'alpha', range), [pair([3], [3]), pair([4], [4])]);
    const other = { gt: bytes(2), gte: bytes(1), lt: bytes(5), lte: bytes(3) };
    assertDeepEqual(await read(kv, 'alpha', other), [pair([3], [3])]);
  },

  'a limit stops a range in either direction': async (kv) => {
    const all = Array.from({ length: 300 }, (_, i) => pair([i >> 8, i & 255], [1]));
    await kv.write(all.map(([key, value]) => ({ type: 'put', family: 'alpha', key, value })));
    for (const limit of [0, 1, 2, 127, 128, 129, 256, 299, 300, 301, Number.POSITIVE_INFINITY]) {
      const count = Math.min(limit, 300);
      assertDeepEqual(await read(kv, 'alpha', { limit }), all.slice(0, count), `limit ${limit}`);
      const reversed = await read(kv, 'alpha', { limit, reverse: true });
      assertDeepEqual(reversed, all.slice(300 - count).toReversed(), `reverse limit ${limit}`);
    }
  },

  'operations of a batch apply in order, the last one on a key winning': async (kv) => {
    await kv.write([put('alpha', [1], [1]), put('alpha', [1], [2]), remove('alpha', [2]), put('alpha', [2], [3])]);
    await kv.write([put('alpha', [3], [1]), remove('alpha', [3])]);
    assertDeepEqual(await read(kv, 'alpha'), [pair([1], [2]), pair([2], [3])]);
  },

  'batches take effect in the order of the calls, awaited or not': async (kv) => {
    const writes = Array.from({ length: 200 }, (_, i) => kv.write([put('alpha', [1], [i]), put('beta', [i], [i])]));
    await Promise.all(writes);
    assertDeepEqual(await kv.get('alpha', bytes(1)), bytes(199));
    assertDeepEqual((await read(kv, 'beta')).length, 200);
  },

  'a batch over several families is seen whole or not at all': async (kv) => {
    let writing = true;
    const writer = (async () => {
      for (let i = 0; i < 200; i++) await kv.write(kvTestFamilies.map((family) => put(family, [1], [i])));
      writing = false;
    })();
    while (writing) {
      const snapshot = kv.snapshot();
      const values = await Promise.all(kvTestFamilies.map((family) => snapshot.get(family, bytes(1))));
      assertDeepEqual(values, [values[0], values[0], values[0]]);
      await snapshot.close();
    }
    await writer;
  },

  'a batch that names an unknown family is a TypeError and applies nothing': async (kv) => {
    const bad = { type: 'put', family: 'delta' as KvTestFamily, key: bytes(1), value: bytes(1) } as const;
    await assertRejects(() => kv.write([put('alpha', [1], [1]), bad]), isTypeError);
    assertDeepEqual(await read(kv, 'alpha'), []);
    await assertRejects(() => kv.get('delta' as KvTestFamily, bytes(1)), isTypeError);
    await assertRejects(() => read(kv, 'delta' as KvTestFamily), isTypeError);
  },

  'an empty batch does nothing and a sync without writes resolves': async (kv) => {
    await kv.write([]);
    await kv.sync();
    assertDeepEqual(await read(kv, 'alpha'), []);
  },

  'what a read returned belongs to the caller': async (kv) => {
    await kv.write([put('alpha', [1], [1, 2, 3])]);
    for (const value of [await kv.get('alpha', bytes(1)), (await kv.getMany('alpha', [bytes(1)]))[0]]) value!.fill(9);
    const [entry] = await read(kv, 'alpha');
    entry![0].fill(9);
    entry![1].fill(9);
    assertDeepEqual(await read(kv, 'alpha'), [pair([1], [1, 2, 3])]);
  },

  'what was handed to a write may be reused once it resolved': async (kv) => {
    const key = bytes(1);
    const value = bytes(1, 2);
    await kv.write([{ type: 'put', family: 'alpha', key, value }]);
    key.fill(9);
    value.fill(9);
    assertDeepEqual(await read(kv, 'alpha'), [pair([1], [1, 2])]);
  },

  'a snapshot keeps the moment it was taken in all families': async (kv) => {
    await kv.write([put('alpha', [1], [1]), put('beta', [1], [1])]);
    const snapshot = kv.snapshot();
    await kv.write([put('alpha', [1], [2]), remove('beta', [1]), put('beta', [2], [2])]);
    await kv.compact('beta');
    assertDeepEqual(await snapshot.get('alpha', bytes(1)), bytes(1));
    assertDeepEqual(await snapshot.getMany('beta', [bytes(1), bytes(2)]), [bytes(1), undefined]);
    assertDeepEqual(await read(snapshot, 'beta'), [pair([1], [1])]);
    assertDeepEqual(await read(snapshot, 'beta', { gte: bytes(2) }), []);
    assertDeepEqual(await read(kv, 'beta'), [pair([2], [2])]);
    await snapshot.close();
    await snapshot.close();
    await assertRejects(() => snapshot.get('alpha', bytes(1)), isUnavailable);
    await assertRejects(() => read(snapshot, 'alpha'), isUnavailable);
  },

  'snapshots are independent of one another': async (kv) => {
    const snapshots = [];
    for (let i = 0; i < 10; i++) {
      await kv.write([put('alpha', [i], [i])]);
      snapshots.push(kv.snapshot());
    }
    for (const i of [3, 9, 0, 5, 1, 8, 2, 7, 4, 6]) {
      assertDeepEqual((await read(snapshots[i]!, 'alpha')).length, i + 1);
      await snapshots[i]!.close();
    }
  },

  'an iteration keeps its view while entries are written and deleted': async (kv) => {
    const all = Array.from({ length: 1000 }, (_, i) => pair([i >> 8, i & 255], [1]));
    await kv.write(all.map(([key, value]) => ({ type: 'put', family: 'alpha', key, value })));
    const found: KvEntry[] = [];
    for await (const [key, value] of kv.entries('alpha')) {
      found.push([key, value]);
      const at = found.length;
      if (at % 10 === 1)
        await kv.write([
          { type: 'delete', family: 'alpha', key: all[(at + 500) % 1000]![0] },
          put('alpha', [9, at & 255], [2]),
          { type: 'put', family: 'alpha', key: all[(at + 7) % 1000]![0], value: bytes(3) },
        ]);
    }
    assertDeepEqual(found, all);
  },

  'an iteration left early does not keep the store from closing': async (kv) => {
    await kv.write(Array.from({ length: 500 }, (_, i) => put('alpha', [i >> 8, i & 255], [1])));
    for await (const [key] of kv.entries('alpha')) if (key[1] === 3) break;
    const started = kv.entries('alpha')[Symbol.asyncIterator]();
    assertDeepEqual((await started.next()).done, false);
    kv.snapshot(); // never closed by its taker
    await kv.close();
    await assertRejects(async () => {
      while (!(await started.next()).done);
    }, isUnavailable);
  },

  'every use after close is an unavailable error, and close is idempotent': async (kv) => {
    await kv.write([put('alpha', [1], [1])]);
    const snapshot = kv.snapshot();
    const closing = [kv.close(), kv.close()];
    await Promise.all(closing);
    await kv.close();
    const uses: (() => unknown)[] = [
      () => kv.get('alpha', bytes(1)),
      () => kv.getMany('alpha', [bytes(1)]),
      () => read(kv, 'alpha'),
      () => kv.write([put('alpha', [1], [2])]),
      () => kv.sync(),
      () => kv.snapshot(),
      () => kv.size(),
      () => kv.compact('alpha'),
      () => snapshot.get('alpha', bytes(1)),
      () => read(snapshot, 'alpha'),
    ];
    for (const use of uses) await assertRejects(async () => use(), isUnavailable);
    await snapshot.close();
  },

  'close waits for the writes and reads under way': async (kv) => {
    await kv.write([put('alpha', [1], [1])]);
    const reads = Array.from({ length: 20 }, () => kv.get('alpha', bytes(1)));
    const writes = Array.from({ length: 50 }, (_, i) => kv.write([put('beta', [i], [i])]));
    const synced = kv.sync();
    await kv.close();
    await Promise.all(writes);
    await synced;
    assertDeepEqual(await Promise.all(reads), Array(20).fill(bytes(1)));
  },

  'size grows with what is stored and compact keeps it readable': async (kv) => {
    const before = await kv.size();
    await kv.write(Array.from({ length: 100 }, (_, i) => put('alpha', [i], Array(1000).fill(i))));
    const after = await kv.size();
    assertTrue(after.totalBytes >= before.totalBytes + 100_000, `${before.totalBytes} -> ${after.totalBytes}`);
    await kv.write(Array.from({ length: 50 }, (_, i) => remove('alpha', [i])));
    await kv.compact('alpha');
    await kv.compact('alpha', { gte: bytes(10), lt: bytes(20) });
    assertDeepEqual((await read(kv, 'alpha')).length, 50);
  },

  'what was synced and closed is there after a reopen': async (kv, reopen) => {
    if (reopen === undefined) return;
    await kv.write(kvTestFamilies.map((family) => put(family, [1], [1])));
    await Promise.all([kv.sync(), kv.sync(), kv.sync()]);
    await kv.write([remove('alpha', [1]), put('beta', [2], [2])]);
    await kv.close();
    for (let round = 0; round < 2; round++) {
      const again = await reopen();
      assertDeepEqual(await read(again, 'alpha'), []);
      assertDeepEqual(await read(again, 'beta'), [pair([1], [1]), pair([2], [2])]);
      assertDeepEqual(await read(again, 'gamma'), [pair([1], [1])]);
      await again.close();
    }
  },

  'a store that is open cannot be opened a second time': async (kv, reopen) => {
    if (reopen === undefined) return;
    await kv.write([put('alpha', [1], [1])]);
    await assertRejects(reopen, isUnavailable);
    await kv.write([put('alpha', [2], [2])]);
    assertDeepEqual((await read(kv, 'alpha')).length, 2);
  },
};

async function read(
  from: KvRead<KvTestFamily>,
  family: KvTestFamily,
  range?: KvRange,
): Promise<(readonly [Uint8Array, Uint8Array])[]> {
  const found: KvEntry[] = [];
  for await (const entry of from.entries(family, range)) found.push(entry);
  return found;
}

const bytes = (...values: number[]) => Uint8Array.from(values);
const pair = (key: number[], value: number[]): KvEntry => [bytes(...key), bytes(...value)];
const isTypeError = (error: unknown) => error instanceof TypeError;
const isUnavailable = (error: unknown) => isIpeError(error) && error.reason === 'unavailable';

function put(family: KvTestFamily, key: number[], value: number[]): KvOperation<KvTestFamily> {
  return { type: 'put', family, key: bytes(...key), value: bytes(...value) };
}

function remove(family: KvTestFamily, key: number[]): KvOperation<KvTestFamily> {
  return { type: 'delete', family, key: bytes(...key) };
}

/** Bytes that no shift or truncation maps onto themselves. */
function pattern(length: number, step: number): Uint8Array {
  const all = new Uint8Array(length);
  for (let i = 0; i < length; i++) all[i] = (i * step + (i >> 8)) & 255;
  return all;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function inRange(
  key: number[],
  low: number[] | undefined,
  lowerName: 'gt' | 'gte',
  high: number[] | undefined,
  upperName: 'lt' | 'lte',
): boolean {
  const below = low === undefined ? 1 : order(key, low);
  const above = high === undefined ? -1 : order(key, high);
  return (lowerName === 'gt' ? below > 0 : below >= 0) && (upperName === 'lt' ? above < 0 : above <= 0);
}

function order(a: number[], b: number[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}
