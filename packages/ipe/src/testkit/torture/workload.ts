import { setTimeout as sleep } from 'node:timers/promises';
import type { DataPlane, Entry, PutResult } from '@ipe/client';
import { isIpeClientError } from '@ipe/client';
import type { Random, RecordedAdd, RecordedWrite, Shown, WriteOutcome } from '@ipe/core/testkit';
import type { Member } from './cluster.ts';

const registers = 20;
const pairs = 10;
const counters = 4;
/** A call that takes longer counts as one whose outcome nobody knows. */
const callTimeoutMs = 5_000;
/** Rest between two writes of a writer, so that a test leaves something of the machine to others. */
const restMs = 2;

/**
 * Clients that write to every instance, and remember what became of each write: keys written once, keys that all write
 * and delete, pairs of keys written together, counters. Readers look at the pairs all the while.
 */
export class Workload {
  readonly writes: RecordedWrite[] = [];
  readonly adds: RecordedAdd[] = [];
  /** Writes that were parked and decided about. */
  parked = 0;
  /** What must not be and was seen while things were going on. */
  readonly problems: string[] = [];
  readonly #members: readonly Member[];
  readonly #random: Random;
  /** The last token of each start of each instance and namespace: who has seen these has seen all before them. */
  readonly #tokens = new Map<string, { readonly namespace: string; readonly token: string }>();
  #stopping = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #serial = 0;

  constructor(members: readonly Member[], random: Random) {
    this.#members = members;
    this.#random = random;
  }

  get acknowledged(): number {
    return this.writes.filter(({ outcome }) => outcome === 'acknowledged').length;
  }

  get unknown(): number {
    return this.writes.filter(({ outcome }) => outcome === 'unknown').length;
  }

  /** Begins to write and read at every instance. */
  start(writersPerInstance = 2): void {
    this.#stopping = new AbortController();
    this.#running = Promise.all(
      this.#members.flatMap((member) => [
        ...Array.from({ length: writersPerInstance }, () => this.#loop(member, (data) => this.#write(member, data))),
        this.#loop(member, (data) => this.#readPair(member, data)),
      ]),
    );
  }

  /** Writes no more; resolves when every call has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Resolves when every instance has seen everything that was acknowledged. @throws Error after `timeoutMs` */
  async untilSeen(timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    const tokens = [...this.#tokens.values()];
    await Promise.all(
      this.#members.flatMap((member) =>
        tokens.map(async ({ namespace, token }) => {
          for (;;) {
            try {
              await member.running.data.get(`${namespace}.none`, { fresh_as_of: token, timeoutMs: callTimeoutMs });
              return;
            } catch (error) {
              if (performance.now() > deadlineMs) {
                throw new Error(`${member.name} has not seen ${token} of ${namespace}`, { cause: error });
              }
              await sleep(20);
            }
          }
        }),
      ),
    );
  }

  /** Expects of nobody any more to have seen what an instance wrote so far by the names it had then. */
  forgetTokens({ name }: Member): void {
    for (const place of [...this.#tokens.keys()]) if (place.startsWith(`${name}/`)) this.#tokens.delete(place);
  }

  /**
   * Decides, as an operator would, about every write that an instance lists as parked: lets one half of them take part,
   * discards the other, and expects accordingly.
   */
  async decideParked({ running: { control } }: Member): Promise<void> {
    for (;;) {
      const { parked } = await control.call('conflicts', { limit: 1_000 });
      if (parked.length === 0) return;
      for (const { id, key, value } of parked) {
        const at = this.writes.findIndex((write) => write.key === key && write.value === value);
        const write = this.writes[at];
        if (write === undefined || write.outcome === 'refused') {
          this.problems.push(`${key} = ${JSON.stringify(value)} is parked, and nobody wrote it`);
        } else if (this.#random.chance(0.5)) {
          await control.call('conflict-release', { id });
        } else {
          await control.call('conflict-discard', { id });
          this.writes[at] = { ...write, outcome: 'refused' };
        }
        this.parked++;
      }
    }
  }

  /** What an instance shows of all that this workload writes: facts, and the totals of counters. */
  async view(member: Member): Promise<{ facts: Map<string, Shown>; counts: Map<string, Shown> }> {
    const facts = new Map<string, Shown>();
    const counts = new Map<string, Shown>();
    for (const namespace of ['facts', 'shared', 'pairs', 'counts']) {
      for await (const entry of member.running.data.query(`${namespace}.*`, { limit: 1_000 })) {
        (namespace === 'counts' ? counts : facts).set(entry.key, shown(entry));
      }
    }
    return { facts, counts };
  }

  async #loop(member: Member, act: (data: DataPlane) => Promise<void>): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const data = member.node?.data;
      if (data) await act(data);
      await sleep(data ? restMs : 20);
    }
  }

  async #write(member: Member, data: DataPlane): Promise<void> {
    const random = this.#random;
    const value = `${member.name}-${this.#serial++}`;
    const dice = random.int(0, 99);
    if (dice < 45) return await this.#put(member, data, `facts.${value}`, value);
    if (dice < 70) {
      const key = `shared.r${random.int(0, registers - 1)}`;
      return random.chance(0.2) ? await this.#delete(member, data, key) : await this.#put(member, data, key, value);
    }
    if (dice < 80) return await this.#deleteFact(member, data);
    if (dice < 92) return await this.#putPair(member, data, `p${random.int(0, pairs - 1)}`, value);
    return await this.#add(data, `counts.c${random.int(0, counters - 1)}`, random.int(1, 5));
  }

  async #put(member: Member, data: DataPlane, key: string, value: string): Promise<void> {
    const result = await attempt(() => data.put(key, value, { timeoutMs: callTimeoutMs }));
    this.writes.push({ key, value, ...this.#outcome(member, result) });
  }

  async #delete(member: Member, data: DataPlane, key: string): Promise<void> {
    const result = await attempt(() => data.delete(key, { timeoutMs: callTimeoutMs }));
    this.writes.push({ key, value: null, ...this.#outcome(member, result) });
  }

  /** Deletes, wherever it was written, a key that nobody writes again: it must stay away. */
  async #deleteFact(member: Member, data: DataPlane): Promise<void> {
    const from = this.writes.length;
    const fact = this.writes[this.#random.int(0, Math.max(0, from - 1))];
    if (fact?.value === null || !fact?.key.startsWith('facts.')) return;
    // A deletion by someone who has not seen the write would be older than it, and then the write stands.
    const seen = await attempt(() => data.get(fact.key, { timeoutMs: callTimeoutMs }));
    if (seen.value) await this.#delete(member, data, fact.key);
  }

  async #putPair(member: Member, data: DataPlane, name: string, value: string): Promise<void> {
    const keys = [`pairs.a-${name}`, `pairs.b-${name}`];
    const operations = keys.map((key) => ({ op: 'put' as const, key, value }));
    const { error, value: result } = await attempt(() => data.transaction(operations, { timeoutMs: callTimeoutMs }));
    for (const [i, key] of keys.entries()) {
      const each = result && { value: result.results[i] as PutResult };
      this.writes.push({ key, value, transaction: value, ...this.#outcome(member, each ?? { error }) });
    }
  }

  async #add(data: DataPlane, key: string, amount: number): Promise<void> {
    const { error } = await attempt(() => data.add(key, amount, { timeoutMs: callTimeoutMs }));
    this.adds.push({ key, amount, outcome: error === undefined ? 'acknowledged' : outcomeOf(error) });
  }

  /** Both keys of a pair are only ever written together: one snapshot shows the same in both. */
  async #readPair(member: Member, data: DataPlane): Promise<void> {
    const name = `p${this.#random.int(0, pairs - 1)}`;
    const { value } = await attempt(() =>
      data.getAll([`pairs.a-${name}`, `pairs.b-${name}`], { timeoutMs: callTimeoutMs }),
    );
    if (value === undefined) return;
    const [a, b] = value.map((entry) => JSON.stringify(entry?.value));
    if (a !== b) this.problems.push(`${member.name} showed half a transaction: ${name} is ${a} and ${b}`);
  }

  #outcome(
    member: Member,
    {
      value,
      error,
    }: { value?: { updated_at?: number; deleted_at?: number; token?: string; key: string }; error?: unknown },
  ): Pick<RecordedWrite, 'outcome' | 'order'> {
    if (value === undefined) return { outcome: outcomeOf(error) };
    if (value.token !== undefined) {
      const namespace = value.key.slice(0, value.key.indexOf('.'));
      this.#tokens.set(`${member.name}/${member.starts}/${namespace}`, { namespace, token: value.token });
    }
    return { outcome: 'acknowledged', order: orderOf((value.updated_at ?? value.deleted_at)!) };
  }
}

async function attempt<Value>(run: () => Promise<Value>): Promise<{ value?: Value; error?: unknown }> {
  try {
    return { value: await run() };
  } catch (error) {
    return { error };
  }
}

function outcomeOf(error: unknown): WriteOutcome {
  return isIpeClientError(error) && error.state === 'unchanged' ? 'refused' : 'unknown';
}

/** The time of a write; writes of one key in the same millisecond are not told apart. */
const orderOf = (seconds: number) => Math.round(seconds * 1_000);

const shown = (entry: Entry): Shown => ({
  value: typeof entry.value === 'string' ? entry.value : JSON.stringify(entry.value),
  order: orderOf(entry.updated_at),
});
