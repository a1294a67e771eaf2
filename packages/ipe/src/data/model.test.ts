import { isIpeError } from '@ipe/core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { DataNode, type Json, TestSession } from '../testkit/data-node.ts';

/**
 * The data plane against a small model: random calls of every writing method submitted without waiting, retries with
 * `request_id`, clock steps, full disks, crashes that lose a random part of what was not synced, restarts, housekeeping.
 * After each barrier every answer, every key (by `get`, `batch-get`, `query` and `history`) and what a resuming follower
 * was told must agree with the model.
 *
 * `IPE_MODEL_RUNS` sets the number of schedules, `IPE_MODEL_SEED` the first seed.
 */
const runs = Number(process.env['IPE_MODEL_RUNS'] ?? 40);
const seed = Number(process.env['IPE_MODEL_SEED'] ?? 7);

type Write =
  | Put
  | { readonly kind: 'batch-put'; readonly writes: readonly Put[] }
  | { readonly kind: 'delete'; readonly key: string; readonly expect?: Expectation }
  | { readonly kind: 'transaction'; readonly writes: readonly (Write & { kind: 'put' | 'delete' })[] }
  | { readonly kind: 'add'; readonly key: string; readonly amount: number; readonly window?: number }
  | { readonly kind: 'set-add' | 'set-remove'; readonly key: string; readonly members: readonly string[] };
interface Put {
  readonly kind: 'put';
  readonly key: string;
  /** Text is put as bytes. */
  readonly value: number | string;
  readonly ttl?: number;
  readonly expect?: Expectation;
  /** Sent twice under one `request_id`. */
  readonly twice?: true;
}
/** What a condition asks for: what the model holds at that point, or something it does not. */
type Expectation = 'version' | 'wrong-version' | 'absent' | 'exists' | 'wrong-etag';
type Step =
  | { readonly kind: 'write'; readonly write: Write }
  | { readonly kind: 'ticks'; readonly count: number }
  | { readonly kind: 'clock'; readonly ms: number }
  | { readonly kind: 'barrier' | 'housekeep' | 'restart' | 'full-disk' | 'repeat' }
  /** Reads an entry and puts it with its etag, then once more with the same one. */
  | { readonly kind: 'exact'; readonly key: string; readonly value: number }
  | { readonly kind: 'full-at-sync'; readonly kept: number }
  | { readonly kind: 'crash'; readonly keep: number };

interface Held {
  readonly value: unknown;
  readonly version: number;
  readonly expiresMs: number;
}

/** What the keys hold, as plainly as it can be said. */
class Model {
  readonly held: ReadonlyMap<string, Held>;
  readonly versions: ReadonlyMap<string, number>;
  /** All that a key ever held, undefined for deletions. */
  readonly past: ReadonlyMap<string, readonly unknown[]>;

  constructor(
    held: ReadonlyMap<string, Held> = new Map(),
    versions: ReadonlyMap<string, number> = new Map(),
    past: ReadonlyMap<string, readonly unknown[]> = new Map(),
  ) {
    this.held = held;
    this.versions = versions;
    this.past = past;
  }

  seen(key: string, nowMs: number): Held | undefined {
    const held = this.held.get(key);
    return held === undefined || (held.expiresMs !== 0 && held.expiresMs <= nowMs) ? undefined : held;
  }

  set(key: string, value: unknown, expiresMs = 0): Model {
    const version = (this.versions.get(key) ?? 0) + 1;
    const held = new Map(this.held);
    if (value === undefined) held.delete(key);
    else held.set(key, { value, version, expiresMs });
    const past = new Map(this.past).set(key, [...(this.past.get(key) ?? []), value]);
    return new Model(held, new Map(this.versions).set(key, version), past);
  }

  /** The model after a write, or undefined where a condition refuses it. */
  after(
    write: Write,
    nowMs: number,
    meets: (key: string, expect: Expectation | undefined) => boolean,
  ): Model | undefined {
    switch (write.kind) {
      case 'put':
        return meets(write.key, write.expect)
          ? this.set(write.key, write.value, write.ttl === undefined ? 0 : nowMs + write.ttl * 1000)
          : undefined;
      case 'delete':
        return meets(write.key, write.expect) ? this.set(write.key, undefined) : undefined;
      case 'transaction':
        return write.writes.reduce<Model | undefined>((model, each) => model?.after(each, nowMs, meets), this);
      case 'batch-put':
        return write.writes.reduce<Model>((model, each) => model.after(each, nowMs, meets) ?? model, this);
      case 'add': {
        const seen = this.seen(write.key, nowMs);
        const windowMs = (write.window ?? 0) * 1000;
        // A crash may set the readers' clock back by what it had run ahead: a window that is open stays open.
        const end = windowMs === 0 ? 0 : Math.max((Math.floor(nowMs / windowMs) + 1) * windowMs, seen?.expiresMs ?? 0);
        return this.set(write.key, ((seen?.value as number | undefined) ?? 0) + write.amount, end);
      }
      default: {
        const members = new Set((this.seen(write.key, nowMs)?.value as string[] | undefined) ?? []);
        for (const member of write.members) write.kind === 'set-add' ? members.add(member) : members.delete(member);
        return this.set(write.key, members.size === 0 ? undefined : [...members].sort());
      }
    }
  }
}

const plainKey = fc.constantFrom('data.a', 'data.b', 'data.c.d', 'votes.a', 'votes.b');
const expectation = fc.option(
  fc.constantFrom<Expectation>('version', 'wrong-version', 'absent', 'exists', 'wrong-etag'),
  { nil: undefined },
);
const optional = <T extends object>(fields: T) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
const put = fc
  .record({
    kind: fc.constant('put' as const),
    key: plainKey,
    value: fc.oneof(fc.nat(99), fc.constantFrom('raw', 'bytes')),
    twice: fc.option(fc.constant(true as const), { nil: undefined, freq: 4 }),
    ttl: fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined }),
    expect: expectation,
  })
  .map((fields) => optional(fields) as Put);
const remove = fc
  .record({ kind: fc.constant('delete' as const), key: plainKey, expect: expectation })
  .map((fields) => optional(fields) as Write & { kind: 'delete' });
const write: fc.Arbitrary<Write> = fc.oneof(
  { weight: 5, arbitrary: put },
  { weight: 2, arbitrary: remove },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('transaction' as const),
      writes: fc.array(
        fc.oneof(put, remove).filter(({ key }) => key.startsWith('data.')),
        { minLength: 1, maxLength: 4 },
      ),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      key: fc.constantFrom('counts.a', 'counts.b'),
      amount: fc.integer({ min: -3, max: 9 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('add' as const),
      key: fc.constant('counts.windowed'),
      amount: fc.integer({ min: -3, max: 9 }),
      window: fc.constant(10),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('batch-put' as const),
      writes: fc.array(put, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('set-add' as const, 'set-remove' as const),
      key: fc.constantFrom('groups.a', 'bans.a'),
      members: fc.array(fc.constantFrom('x', 'y', 'z'), { minLength: 1, maxLength: 3 }),
    }),
  },
);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 20, arbitrary: fc.record({ kind: fc.constant('write' as const), write }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('ticks' as const), count: fc.nat(40) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('clock' as const), ms: fc.integer({ min: -20_000, max: 40_000 }) }),
  },
  { weight: 4, arbitrary: fc.constant<Step>({ kind: 'barrier' }) },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: 'housekeep' }) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: 'restart' }) },
  { weight: 1, arbitrary: fc.constant<Step>({ kind: 'full-disk' }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('full-at-sync' as const), kept: fc.nat(1) }) },
  { weight: 2, arbitrary: fc.constant<Step>({ kind: 'repeat' }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('exact' as const), key: plainKey, value: fc.nat(99) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('crash' as const), keep: fc.nat(3) }) },
);

/** A write under way: what the model says of it, and how it ended. */
interface UnderWay {
  readonly write: Write;
  readonly before: Model;
  readonly predicted: Model | undefined;
  readonly nowMs: number;
  readonly ended: Promise<void>;
  outcome: { readonly ok: true; readonly answer: Json } | { readonly ok: false; readonly reason: string } | undefined;
}

class Run {
  model = new Model();
  underWay: UnderWay[] = [];
  #requests = 0;
  /** Keys whose version is known: of one that was purged the next version depends on what else was. */
  #certain = new Set<string>();
  /** The last put under a `request_id` that was answered. */
  #answered: { readonly params: Json; readonly answer: Json; readonly atMs: number } | undefined;
  readonly node: DataNode;
  /** What a follower of each namespace was told, and where it would go on. */
  readonly followers = ['data', 'votes', 'counts', 'groups', 'bans'].map((namespace) => new Follower(namespace));

  constructor(node: DataNode) {
    this.node = node;
  }

  async follow(): Promise<void> {
    for (const follower of this.followers) await follower.attach(this.node);
  }

  submit(write: Write): void {
    const nowMs = this.node.engine.readMs();
    const before = this.model;
    const conditions = new Map<string, object>();
    // Conditions name what the model holds when they are judged; inside a transaction that is after the writes before.
    let draft = before;
    const describe = (each: Write & { kind: 'put' | 'delete' }): Json => {
      const version = draft.seen(each.key, nowMs)?.version ?? 0;
      const condition = conditionOf(each.expect, this.#certain.has(each.key) ? version : undefined);
      // Of a batch each stands alone; a transaction is refused whole, so what follows a refusal does not matter.
      draft = draft.after(each, nowMs, write.kind === 'batch-put' ? meets(draft) : () => true) ?? draft;
      conditions.set(each.key, condition);
      return {
        key: each.key,
        ...condition,
        ...(each.kind === 'put' && { ...content(each.value), ...(each.ttl && { ttl: each.ttl }) }),
        ...(each.kind === 'put' &&
          each.twice &&
          write.kind !== 'transaction' && { request_id: `r${++this.#requests}` }),
      };
    };
    const meets = (model: Model) => (key: string, expect: Expectation | undefined) =>
      expect === undefined ||
      expect === 'version' ||
      (expect === 'absent' && model.seen(key, nowMs) === undefined) ||
      (expect === 'exists' && model.seen(key, nowMs) !== undefined);
    const [method, params] = request(write, describe);
    const predicted =
      write.kind === 'transaction'
        ? write.writes.reduce<Model | undefined>((model, each) => model?.after(each, nowMs, meets(model)), before)
        : write.kind === 'batch-put'
          ? write.writes.reduce<Model>((model, each) => model.after(each, nowMs, meets(model)) ?? model, before)
          : before.after(write, nowMs, meets(before));
    const entry: UnderWay = { write, before, predicted, nowMs, outcome: undefined, ended: Promise.resolve() };
    const isTwice = write.kind === 'put' && write.twice;
    const again = isTwice ? [this.node.call(method, params)] : [];
    const ended = Promise.all([this.node.call(method, params), ...again]).then(
      ([answer, repeated]) => {
        entry.outcome = { ok: true, answer };
        if (!isTwice) return;
        expect(repeated).toEqual(answer);
        this.#answered = { params, answer, atMs: this.node.nowMs };
      },
      (error) => {
        if (!isIpeError(error)) throw error;
        entry.outcome = { ok: false, reason: error.reason };
      },
    );
    this.underWay.push(Object.assign(entry, { ended }));
    this.model = predicted ?? before;
  }

  /** Waits for every answer and holds it to the model; from the first write that the store refused on, nothing counts. */
  async barrier(): Promise<void> {
    await Promise.all(this.underWay.map(({ ended }) => ended));
    const lost = this.underWay.findIndex(({ outcome }) => outcome?.ok === false && outcome.reason === 'unavailable');
    const settled = lost < 0 ? this.underWay : this.underWay.slice(0, lost);
    for (const each of settled) this.#checkAnswer(each);
    if (lost >= 0) this.model = this.underWay[lost]!.before;
    this.underWay = [];
    await this.check();
  }

  /** A retry of what was answered, be it before a restart or a crash, gets the same answer and writes nothing. */
  async repeat(): Promise<void> {
    if (this.#answered === undefined || this.node.nowMs - this.#answered.atMs > 500_000) return;
    expect(await this.node.call('put', this.#answered.params)).toEqual(this.#answered.answer);
  }

  /** An etag that was read is good for one write. */
  async exact(key: string, value: number): Promise<void> {
    const entry = await this.node.call('get', { key });
    if (entry === null) return;
    const params = { key, value, if_match: entry.etag };
    expect(await this.node.call('put', params)).toMatchObject({ key });
    this.model = this.model.set(key, value);
    expect((await this.node.refused('put', params)).reason).toBe('conflict');
  }

  #checkAnswer({ write, predicted, outcome }: UnderWay): void {
    expect(outcome, JSON.stringify(write)).toMatchObject(
      predicted === undefined ? { ok: false, reason: 'conflict' } : { ok: true },
    );
    if (predicted === undefined || !outcome?.ok) return;
    if (write.kind === 'batch-put') {
      expect(outcome.answer.results.map(({ key }: Json) => key)).toEqual(write.writes.map(({ key }) => key));
      return;
    }
    if (write.kind === 'add') expect(outcome.answer.value).toBe(predicted.held.get(write.key)?.value ?? 0);
    if (write.kind !== 'transaction')
      expect(outcome.answer.version).toBeGreaterThanOrEqual(predicted.versions.get(write.key)!);
  }

  /** Loses power: what was answered stands, and of the rest a prefix. */
  async crash(keep: number): Promise<void> {
    const disk = this.underWay;
    for (const follower of this.followers) follower.detach();
    await this.node.crash(keep);
    // Answers that came before the crash; what ends with it ends without one.
    // A batch of which everything was refused tells nothing of what is on disk.
    const lastAnswered = disk.findLastIndex(
      ({ outcome, predicted, before }) => outcome?.ok === true && predicted !== before,
    );
    this.underWay = [];
    const candidates = [...disk.map(({ before }) => before), this.model].slice(lastAnswered + 1);
    const found = await this.state();
    const nowMs = this.node.engine.readMs();
    // The earliest that explains it: a deletion of nothing shows in the next version alone.
    const match = candidates.find((candidate) => same(found, candidate, nowMs));
    expect(
      match,
      `after a crash the store holds ${JSON.stringify([...found])}, which no prefix of the writes explains`,
    ).toBeDefined();
    this.model = match!;
    await this.follow();
    await this.check();
  }

  async check(): Promise<void> {
    const nowMs = this.node.engine.readMs();
    const found = await this.state();
    expect(plain(found)).toEqual(plain(visible(this.model, nowMs)));
    this.#certain = new Set(found.keys());
    for (const [key, { version }] of found) {
      const expected = this.model.versions.get(key)!;
      expect(version).toBeGreaterThanOrEqual(expected);
      // Purging raises versions of keys that were absent; from then on the model goes on from there.
      if (version > expected) this.model = raised(this.model, key, version);
    }
    for (const key of found.keys()) await this.#checkHistory(key);
    await this.#checkFollowers(nowMs);
  }

  /** History begins with what is held and goes back through what was, leaving out only what was purged. */
  async #checkHistory(key: string): Promise<void> {
    const { versions } = await this.node.call('history', { key });
    const past = (this.model.past.get(key) ?? []).map((value) => JSON.stringify(value));
    const told: string[] = versions.map(({ value, value_base64, deleted }: Json) =>
      JSON.stringify(deleted ? undefined : (value ?? text(value_base64))),
    );
    expect(told.length).toBeLessThanOrEqual(5);
    expect(told[0]).toBe(past.at(-1));
    if (key.startsWith('counts.')) return;
    let at = past.length;
    for (const each of told) {
      const found = past.lastIndexOf(each, at - 1);
      expect(found, `history of ${key}: ${told} of ${past}`).toBeGreaterThanOrEqual(0);
      at = found;
    }
  }

  async #checkFollowers(nowMs: number): Promise<void> {
    const expected = plain(visible(this.model, nowMs));
    const told = () => Object.assign({}, ...this.followers.map((follower) => follower.visible(nowMs)));
    for (let turns = 0; turns < 500 && JSON.stringify(told()) !== JSON.stringify(expected); turns++)
      await new Promise((resolve) => setImmediate(resolve));
    expect(told()).toEqual(expected);
  }

  /** Every key, by query and by get. */
  async state(): Promise<Map<string, Held>> {
    const found = new Map<string, Held>();
    for (const namespace of ['data', 'votes', 'counts', 'groups', 'bans']) {
      const { entries, complete } = await this.node.call('query', { pattern: `${namespace}.*` });
      expect(complete).toBe(true);
      for (const { key, value, value_base64, version, expires_at } of entries)
        found.set(key, {
          value: value ?? text(value_base64),
          version,
          expiresMs: expires_at === undefined ? 0 : Math.round(expires_at * 1000),
        });
      const keys = entries.map((entry: Json) => entry.key);
      expect((await this.node.call('batch-get', { keys })).entries).toEqual(entries);
      expect(await Promise.all(keys.map((key: string) => this.node.call('get', { key })))).toEqual(entries);
    }
    return found;
  }
}

class Follower {
  readonly #namespace: string;
  readonly #told = new Map<
    string,
    { readonly value: unknown; readonly expiresMs: number; readonly timestamp: number }
  >();
  #session = new TestSession();
  #token: string | undefined;

  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  async attach(node: DataNode): Promise<void> {
    this.#session = new TestSession();
    const session = this.#session;
    const notify = session.notify.bind(session);
    session.notify = async (event, data, id) => {
      this.#take(data as Json);
      await notify(event, data, id);
    };
    const place = this.#token === undefined ? { include_existing: true } : { from: this.#token };
    if (this.#token === undefined) this.#told.clear();
    await node.call('subscribe', { pattern: `${this.#namespace}.*`, ...place }, { session });
  }

  detach(): void {
    this.#session.end();
  }

  #take(event: Json): void {
    this.#token = event.token;
    if (event.type === 'resync') this.#told.clear();
    else if (event.type === 'delete') this.#told.delete(event.key);
    else if (event.type === 'update') {
      const expiresMs = event.expires_at === undefined ? 0 : Math.round(event.expires_at * 1000);
      this.#told.set(event.key, {
        value: event.value ?? text(event.value_base64),
        expiresMs,
        timestamp: event.timestamp,
      });
    }
  }

  visible(nowMs: number): Record<string, unknown> {
    const rows = [...this.#told].filter(([, { expiresMs }]) => expiresMs === 0 || expiresMs > nowMs);
    return Object.fromEntries(rows.map(([key, { value }]) => [key, value] as const).sort(byKey));
  }
}

/** @param version undefined where it is not certain: then nothing is asked for */
function conditionOf(expectation: Expectation | undefined, version: number | undefined): object {
  switch (expectation) {
    case undefined:
      return {};
    case 'exists':
      return { if_match: '*' };
    case 'wrong-etag':
      return { if_match: '0123456789abcdef' };
    default:
      if (expectation === 'absent') return { if_version: 0 };
      if (expectation === 'wrong-version') return { if_version: (version ?? 0) + 1_000_000 };
      return version === undefined ? {} : { if_version: version };
  }
}

const content = (value: number | string): object =>
  typeof value === 'number' ? { value } : { value_base64: Buffer.from(value).toString('base64') };
const text = (base64: string | undefined) =>
  base64 === undefined ? undefined : Buffer.from(base64, 'base64').toString();

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => (a < b ? -1 : 1);

function visible(model: Model, nowMs: number): Map<string, Held> {
  return new Map(
    [...model.held.keys()].flatMap((key) => {
      const held = model.seen(key, nowMs);
      return held === undefined ? [] : [[key, held] as const];
    }),
  );
}

/** Values by key, in the order in which followers list them. */
function plain(held: ReadonlyMap<string, Held>): Record<string, unknown> {
  const order = ['data', 'votes', 'counts', 'groups', 'bans'];
  const rank = (key: string) => order.indexOf(key.slice(0, key.indexOf('.')));
  return Object.fromEntries(
    [...held].map(([key, { value }]) => [key, value] as const).sort((a, b) => rank(a[0]) - rank(b[0]) || byKey(a, b)),
  );
}

function same(found: ReadonlyMap<string, Held>, model: Model, nowMs: number): boolean {
  const expected = visible(model, nowMs);
  if (JSON.stringify(plain(found)) !== JSON.stringify(plain(expected))) return false;
  return [...found].every(([key, { version }]) => version >= expected.get(key)!.version);
}

function raised(model: Model, key: string, version: number): Model {
  const held = model.held.get(key)!;
  return new Model(
    new Map(model.held).set(key, { ...held, version }),
    new Map(model.versions).set(key, version),
    model.past,
  );
}

function request(
  write: Write,
  describe: (write: Write & { kind: 'put' | 'delete' }) => Json,
): [method: string, params: Json] {
  if (write.kind === 'put' || write.kind === 'delete') return [write.kind, describe(write)];
  if (write.kind === 'transaction')
    return ['transaction', { operations: write.writes.map((each) => ({ op: each.kind, ...describe(each) })) }];
  if (write.kind === 'batch-put') return ['batch-put', { entries: write.writes.map(describe) }];
  if (write.kind === 'add') {
    const { key, amount, window } = write;
    return ['add', { key, amount, ...(window !== undefined && { window }) }];
  }
  return [write.kind, { key: write.key, members: write.members }];
}

async function follows(steps: readonly Step[], durability: 'fsync' | 'wal', cacheBytesMax: number): Promise<void> {
  const node = await DataNode.open({ durability, cacheBytesMax, batchWritesMax: 3, flushIntervalMs: 0 });
  const run = new Run(node);
  await run.follow();
  try {
    for (const step of steps) {
      if (step.kind === 'write') run.submit(step.write);
      else if (step.kind === 'ticks') for (let i = 0; i < step.count; i++) await Promise.resolve();
      else if (step.kind === 'clock') {
        await run.barrier();
        node.nowMs += step.ms;
      } else if (step.kind === 'crash') {
        // Under `wal` what was answered in the last second may be lost: it is synced first.
        if (durability === 'wal') {
          await run.barrier();
          await node.engine.housekeep();
        }
        await run.crash(step.keep);
      } else if (step.kind === 'full-disk') {
        node.disk.full = true;
        run.submit({ kind: 'put', key: 'data.full', value: 1 });
        await run.barrier();
        node.disk.full = false;
        await node.engine.housekeep();
        await run.check();
      } else if (step.kind === 'full-at-sync') {
        await run.barrier();
        if (durability === 'wal') continue;
        node.disk.fullAtSync = true;
        node.disk.keptAtRecovery = step.kept;
        const kept = run.model.after({ kind: 'put', key: 'data.full', value: 2 }, node.engine.readMs(), () => true)!;
        run.submit({ kind: 'put', key: 'data.full', value: 2 });
        await run.barrier();
        node.disk.fullAtSync = false;
        await node.engine.housekeep();
        if (step.kept > 0) run.model = kept;
        await run.check();
      } else if (step.kind === 'exact') {
        await run.barrier();
        await run.exact(step.key, step.value);
      } else {
        await run.barrier();
        if (step.kind === 'housekeep') await node.engine.housekeep();
        if (step.kind === 'repeat') await run.repeat();
        if (step.kind === 'restart') {
          for (const follower of run.followers) follower.detach();
          await node.restart();
          await run.follow();
        }
        await run.check();
      }
    }
    await run.barrier();
  } finally {
    await node.close();
  }
}

test.each([
  ['fsync', 4 * 1024 * 1024],
  ['fsync', 0],
  ['wal', 0],
] as const)(
  'agrees with the model under %s with a cache of %i bytes',
  async (durability, cacheBytesMax) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), (steps) =>
        follows(steps, durability, cacheBytesMax),
      ),
      { numRuns: runs, seed },
    );
  },
  600_000,
);
