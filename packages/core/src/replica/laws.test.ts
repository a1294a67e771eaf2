import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { admit, isRefused } from './admission.ts';
import { Cell } from './cell.ts';
import { ByteReader, ByteWriter } from './codec.ts';
import { compareStamps, dotsTag, type Source, Sources } from './dot.ts';
import { afterHlc, compareHlc, HybridClock } from './hlc.ts';
import { isCausal, join, stateOf } from './join.ts';
import type { LogRecord, Operation } from './record.ts';
import { decodeRecord, encodeRecord } from './record-codec.ts';
import { latestOf, liveDots, resolve } from './resolve.ts';
import { type KeyState, type Strategy, strategyText } from './state.ts';
import { readState, writeState } from './state-codec.ts';
import type { Write } from './write.ts';

const sources = new Sources();
const strategies: readonly Strategy[] = [
  { kind: 'lww' },
  { kind: 'version-vector', resolver: 'revoke-wins' },
  { kind: 'version-vector', resolver: 'add-wins' },
  { kind: 'version-vector', resolver: 'siblings' },
  { kind: 'counter' },
  { kind: 'set', resolver: 'add-wins' },
  { kind: 'set', resolver: 'remove-wins' },
];
const replicas = 3;
const key = 'ns.k';

/** One step of a schedule: a replica writes, or hears a record of another. */
type Step =
  | {
      readonly kind: 'write';
      readonly replica: number;
      readonly choice: number;
      readonly value: number;
      readonly clock: number;
    }
  | { readonly kind: 'hear'; readonly replica: number; readonly from: number }
  | { readonly kind: 'restart'; readonly replica: number };

const replica = fc.nat(replicas - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('write' as const),
      replica,
      choice: fc.nat(5),
      value: fc.nat(4),
      clock: fc.integer({ min: -4, max: 4 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('hear' as const), replica, from: replica }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), replica }) },
);
const schedule = fc.array(step, { minLength: 1, maxLength: 24 });

/** Replicas that write one key by the real admission, with skewed clocks, hearing each other's records in FIFO order. */
class Cluster {
  readonly states: (KeyState | undefined)[] = new Array(replicas).fill(undefined);
  /** Every state that was ever held: what laws are tried on. */
  readonly met: KeyState[] = [];
  readonly records: LogRecord[][] = Array.from({ length: replicas }, () => []);
  readonly #heard = Array.from({ length: replicas }, () => new Array<number>(replicas).fill(0));
  readonly #clocks = Array.from({ length: replicas }, () => new HybridClock());
  readonly #source: Source[];
  readonly #seq = new Array<number>(replicas).fill(0);
  readonly #strategy: Strategy;
  #ms = 1_000;
  #epoch = 1;

  constructor(strategy: Strategy) {
    this.#strategy = strategy;
    this.#source = Array.from({ length: replicas }, (_, i) => this.#draw(i));
  }

  #draw(i: number): Source {
    return sources.of(`${i}`.padStart(16, 'a'), this.#epoch++);
  }

  run(steps: readonly Step[]): void {
    for (const step of steps) {
      this.#ms += 1;
      if (step.kind === 'write') this.#write(step);
      else if (step.kind === 'hear') this.#hear(step.replica, step.from);
      else {
        this.#source[step.replica] = this.#draw(step.replica);
        this.#seq[step.replica] = 0;
      }
    }
  }

  /** Everyone hears everything. */
  settle(): void {
    for (let i = 0; i < replicas; i++) for (let from = 0; from < replicas; from++) while (this.#hear(i, from));
  }

  #hear(i: number, from: number): boolean {
    const record = this.records[from]![this.#heard[i]![from]!];
    if (record === undefined || from === i) return false;
    this.#heard[i]![from]!++;
    this.#clocks[i]!.witness(record, this.#ms);
    this.#join(i, record);
    return true;
  }

  #join(i: number, record: LogRecord): void {
    const state = join(this.states[i], stateOf(record, 0, this.#strategy.kind === 'version-vector'));
    this.states[i] = state;
    this.met.push(state);
  }

  #write({ replica: i, choice, value, clock }: Step & { kind: 'write' }): void {
    const state = this.states[i];
    let hlc = this.#clocks[i]!.tick(this.#ms + clock * 3);
    if (state !== undefined && compareHlc(latestOf(state), hlc) >= 0) hlc = afterHlc(latestOf(state));
    const cell = new Cell(state, 0, this.#strategy);
    const source = this.#source[i]!;
    const site = { strategy: this.#strategy, floor: 0, seen: () => [], folds: [], source, nowMs: hlc.ms, ms: hlc.ms };
    const operation = admit(this.#choose(choice, value, cell), cell, site);
    if (isRefused(operation)) return;
    const record = { namespace: 'ns', source, seq: ++this.#seq[i]!, ...hlc, operations: [operation] };
    this.records[i]!.push(record);
    this.#heard[i]![i]!++;
    if (state !== undefined)
      for (const dot of liveDots(state))
        if ('ms' in dot) expect(compareStamps({ ...record, idx: 0 }, dot as never)).toBeGreaterThan(0);
    this.#join(i, record);
  }

  #choose(choice: number, value: number, cell: Cell): Write {
    const target = { namespace: 'ns', key };
    if (this.#strategy.kind === 'counter')
      return choice === 0
        ? { op: 'delete', ...target }
        : { op: 'add', ...target, amount: value - 1, ...(choice > 3 && { windowMs: 10 }) };
    if (this.#strategy.kind === 'set')
      return choice === 0
        ? { op: 'delete', ...target }
        : { op: choice % 2 ? 'set-add' : 'set-remove', ...target, members: [`"${value}"`, `"${choice}"`] };
    const condition =
      this.#strategy.kind === 'version-vector' && cell.state !== undefined ? { ifMatch: cell.etag } : {};
    if (choice === 0) return { op: 'delete', ...target, ...condition };
    return { op: 'put', ...target, json: `${value}`, ...(choice === 1 && { ttlMs: 5 }), ...condition };
  }
}

function encoded(state: KeyState): Uint8Array {
  const out = new ByteWriter();
  writeState(out, state);
  return out.take();
}

describe.each(strategies.map((strategy) => [strategyText(strategy), strategy] as const))('%s', (_, strategy) => {
  const clusters = schedule.map((steps) => {
    const cluster = new Cluster(strategy);
    cluster.run(steps);
    return cluster;
  });

  test('join is commutative, associative and idempotent', () => {
    fc.assert(
      fc.property(clusters, fc.nat(), fc.nat(), fc.nat(), ({ met }, i, j, k) => {
        if (met.length === 0) return;
        const [a, b, c] = [met[i % met.length]!, met[j % met.length]!, met[k % met.length]!];
        expect(encoded(join(a, b))).toEqual(encoded(join(b, a)));
        expect(encoded(join(join(a, b), c))).toEqual(encoded(join(a, join(b, c))));
        expect(encoded(join(a, a))).toEqual(encoded(a));
        expect(encoded(join(join(a, b), b))).toEqual(encoded(join(a, b)));
      }),
      { numRuns: 80, seed: 4 },
    );
  });

  test('all replicas end in one state, which reads the same, whatever the order of deliveries', () => {
    fc.assert(
      fc.property(clusters, (cluster) => {
        cluster.settle();
        const written = cluster.states.filter((state) => state !== undefined);
        for (const state of written) {
          expect(encoded(state)).toEqual(encoded(written[0]!));
          expect(resolve(state, strategy)).toEqual(resolve(written[0]!, strategy));
        }
        if (written.length > 0) expect(written).toHaveLength(replicas);
      }),
      { numRuns: 80, seed: 4 },
    );
  });

  test('a state and its records survive their encoding, and only canonical bytes decode', () => {
    fc.assert(
      fc.property(clusters, fc.nat(), fc.integer({ min: 1, max: 255 }), ({ met, records }, at, flip) => {
        for (const state of met) {
          const bytes = encoded(state);
          const input = new ByteReader(bytes, sources);
          expect(readState(input)).toEqual(state);
          input.end();
        }
        for (const record of records.flat()) {
          const bytes = encodeRecord(record);
          expect(decodeRecord(bytes, sources)).toEqual(record);
          const damaged = Uint8Array.from(bytes);
          damaged[at % bytes.length]! ^= flip;
          let read: LogRecord | undefined;
          try {
            read = decodeRecord(damaged, sources);
          } catch (error) {
            expect(error).toMatchObject({ reason: 'corrupt' });
          }
          if (read !== undefined) expect(encodeRecord(read)).toEqual(damaged);
        }
      }),
      { numRuns: 25, seed: 4 },
    );
  });
});

describe('what concurrent writes come to', () => {
  const of = (origin: string) => sources.of(origin.repeat(16), 1);
  const record = (source: Source, seq: number, ms: number, ...operations: Operation[]): LogRecord => ({
    namespace: 'ns',
    source,
    seq,
    ms,
    count: 0,
    operations,
  });
  const put = (json: string, expiresMs = 0): Operation => ({
    op: 'put',
    key,
    version: 1,
    createdMs: 1,
    expiresMs,
    json,
    bytes: undefined,
    context: [],
    over: undefined,
    isConditional: false,
  });
  const revoke: Operation = {
    op: 'delete',
    key,
    version: 1,
    createdMs: 1,
    context: [],
    over: undefined,
    isConditional: false,
  } as const;
  const merged = (...records: LogRecord[]) =>
    records
      .map((each) => stateOf(each, 0, isCausal(each.operations[0]!)))
      .reduce((a: KeyState | undefined, b) => join(a, b), undefined)!;

  test('a revocation beats a grant that had not seen it, however late the grant', () => {
    const state = merged(record(of('a'), 1, 10, revoke), record(of('b'), 1, 99, put('1')));
    expect(resolve(state, { kind: 'version-vector', resolver: 'revoke-wins' }).kind).toBe('absent');
    expect(resolve(state, { kind: 'version-vector', resolver: 'add-wins' }).json).toBe('1');
    expect(resolve(state, { kind: 'version-vector', resolver: 'siblings' })).toMatchObject({
      kind: 'siblings',
      siblings: [{ json: '1' }, { json: undefined }],
    });
  });

  test('a grant that saw the revocation stands', () => {
    const seen = { ...put('1'), context: [{ source: of('a'), seq: 1, idx: 0 }] } as Operation;
    const state = merged(record(of('b'), 1, 20, seen), record(of('a'), 1, 10, revoke));
    expect(resolve(state, { kind: 'version-vector', resolver: 'revoke-wins' }).json).toBe('1');
  });

  test('of grants side by side the shortest life counts under revoke-wins', () => {
    const state = merged(record(of('a'), 1, 10, put('1', 500)), record(of('b'), 1, 20, put('2')));
    expect(resolve(state, { kind: 'version-vector', resolver: 'revoke-wins' })).toMatchObject({
      json: '2',
      expiresMs: 500,
    });
    expect(resolve(state, { kind: 'version-vector', resolver: 'add-wins' })).toMatchObject({ json: '2', expiresMs: 0 });
  });
});

describe('the hybrid clock', () => {
  test('never goes back and exceeds what it was shown, whatever the wall clock does', () => {
    const reading = fc.record({
      isTick: fc.boolean(),
      wall: fc.nat(2_000),
      remote: fc.nat(2_600),
      count: fc.nat(0xffff),
    });
    fc.assert(
      fc.property(fc.array(reading, { maxLength: 50 }), (readings) => {
        const clock = new HybridClock();
        let last = clock.last;
        for (const { isTick, wall, remote, count } of readings) {
          const before = last;
          if (isTick) {
            last = clock.tick(wall);
            expect(compareHlc(last, before)).toBeGreaterThan(0);
            expect(last.count).toBeLessThanOrEqual(0xffff);
          } else {
            const taken = clock.witness({ ms: remote, count }, wall);
            expect(taken).toBe(remote <= wall + 500);
            last = clock.last;
            expect(compareHlc(last, before)).toBeGreaterThanOrEqual(0);
            if (taken) expect(compareHlc(last, { ms: remote, count })).toBeGreaterThanOrEqual(0);
            else expect(last).toEqual(before);
          }
        }
      }),
    );
  });
});

test('tags of sets of dots are equal for equal sets alone', () => {
  const dot = fc.record({
    source: fc.constantFrom(sources.of('a'.repeat(16), 1), sources.of('b'.repeat(16), 2)),
    seq: fc.nat(2 ** 40),
    idx: fc.nat(5),
  });
  const seen = new Map<string, string>();
  fc.assert(
    fc.property(
      fc.uniqueArray(dot, { selector: ({ source, seq, idx }) => `${source.id}${seq}.${idx}`, maxLength: 4 }),
      (dots) => {
        const tag = dotsTag(dots);
        expect(tag).toMatch(/^[0-9a-f]{16}$/);
        expect(dotsTag([...dots].reverse())).toBe(tag);
        const name = dots
          .map(({ source, seq, idx }) => `${source.id}${seq}.${idx}`)
          .sort()
          .join();
        expect(seen.get(tag) ?? name).toBe(name);
        seen.set(tag, name);
      },
    ),
    { numRuns: 500, seed: 4 },
  );
});
