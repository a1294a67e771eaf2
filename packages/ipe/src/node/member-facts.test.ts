import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cell, evictedState, Sources } from '@ipe/core/replica';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type ClusterKeys, createClusterKeys } from '../cluster/keys.ts';
import { MemberDirectory, type MemberRecord, type SignedMember, signMember } from '../cluster/members.ts';
import { MemberFacts, type MemberFactsOptions, memberPrefix, toldOf } from './member-facts.ts';

const origin = 'aaaaaaaaaaaaaaa1';
const key = memberPrefix + origin;
const active: MemberRecord = {
  v: 1,
  id: 'one',
  origin,
  fingerprint: 'ab'.repeat(32),
  signingKey: 'k',
  address: null,
  state: 'active',
  sequence: 1,
  issuedAtMs: 0,
};
const evicted = evictedState(active, {}, 'lease');

let folder: string;
let keys: ClusterKeys;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'ipe-member-facts-'));
  keys = await createClusterKeys(folder);
  vi.useFakeTimers();
});
afterEach(async () => {
  vi.useRealTimers();
  await rm(folder, { recursive: true, force: true });
});

const sign = (record: MemberRecord) => signMember(keys.key!, record);

/** Facts in memory, of a store that takes no writes while it is full. */
class Facts {
  isFull = false;
  readonly told = new Map<string, SignedMember>();
  readonly #source = new Sources().of(origin, 1);

  get(name: string): Cell {
    const value = this.told.get(name);
    if (value === undefined) return new Cell(undefined, 0, { kind: 'lww' });
    const stamp = { source: this.#source, seq: 1, idx: 0, ms: 1, count: 0 };
    const rest = { version: 1, createdMs: 1, expiresMs: 0, bytes: undefined, isConditional: false };
    return new Cell({ kind: 'version', ...stamp, ...rest, json: JSON.stringify(value) }, 1, { kind: 'lww' });
  }

  async put(name: string, value: unknown): Promise<void> {
    if (this.isFull) throw new Error('the disk is full');
    this.told.set(name, value as SignedMember);
  }

  onApplied = () => () => {};
}

const self = 'bbbbbbbbbbbbbbb2';

function open(facts: Facts, errors: unknown[] = [], at = self) {
  const directory = new MemberDirectory(keys.publicKey);
  directory.put(sign(active));
  const options: MemberFactsOptions = { origin: at, directory, facts, onError: (error) => void errors.push(error) };
  return { directory, shared: new MemberFacts(options) };
}

test('of records of a member that stand side by side the newest is gone by, not the latest', () => {
  const strategy = { kind: 'version-vector', resolver: 'revoke-wins' } as const;
  const sources = new Sources();
  const back: MemberRecord = { ...active, ...evicted, state: 'active', sequence: 3 };
  const live = [back, { ...active, ...evicted }].map((record, i) => {
    const stamp = { source: sources.of(`${i}`.repeat(16), 1), seq: 1, idx: 0, ms: i + 1, count: 0 };
    const rest = { version: 1, createdMs: 1, expiresMs: 0, bytes: undefined, isConditional: false };
    return { kind: 'version', ...stamp, ...rest, json: JSON.stringify(sign(record)) } as const;
  });
  const fact = new Cell({ kind: 'siblings', live, context: live }, 1, strategy);
  expect((fact.value as SignedMember).body.state).toBe('evicted');
  expect(toldOf(fact)?.body).toEqual(back);
  for (const strange of [null, 1, {}, { body: null }])
    expect(toldOf(new Cell({ ...live[0]!, json: JSON.stringify(strange) }, 1, strategy))).toBeUndefined();
});

test('an eviction that could not be stored is told once the store takes writes again', async () => {
  const facts = new Facts();
  const errors: unknown[] = [];
  const { directory, shared } = open(facts, errors);
  await vi.advanceTimersByTimeAsync(0);
  expect(facts.told.get(key)?.body).toEqual(active);
  facts.isFull = true;
  directory.put(sign(evicted));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(facts.told.get(key)?.body).toEqual(active);
  expect(errors.length).toBeGreaterThan(1);
  facts.isFull = false;
  await vi.advanceTimersByTimeAsync(1_000);
  expect(facts.told.get(key)?.body).toEqual(evicted);
  shared.close();
});

test('a later record that stands among the facts is learned, and not written over', async () => {
  const facts = new Facts();
  facts.told.set(key, sign(evicted));
  const { directory, shared } = open(facts);
  await vi.advanceTimersByTimeAsync(0);
  expect(directory.byOrigin(origin)).toEqual(evicted);
  expect(facts.told.get(key)?.body).toEqual(evicted);
  shared.close();
});

test('that a member was taken back is told over its eviction by the others, and not by itself', async () => {
  const back: MemberRecord = { ...evicted, state: 'active', sequence: 3 };
  for (const at of [self, origin]) {
    const facts = new Facts();
    const { directory, shared } = open(facts, [], at);
    directory.put(sign(back));
    facts.told.set(key, sign(evicted));
    await vi.advanceTimersByTimeAsync(0);
    expect(facts.told.get(key)?.body).toEqual(at === self ? back : evicted);
    shared.close();
  }
});

test('nothing is tried any more once it is closed', async () => {
  const facts = new Facts();
  facts.isFull = true;
  const { shared } = open(facts);
  await vi.advanceTimersByTimeAsync(0);
  shared.close();
  facts.isFull = false;
  await vi.advanceTimersByTimeAsync(5_000);
  expect(facts.told.size).toBe(0);
});
