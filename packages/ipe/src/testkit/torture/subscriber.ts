import { setTimeout as sleep } from 'node:timers/promises';
import type { Member } from './cluster.ts';

/**
 * A subscriber that builds a copy of one namespace from what it is told, over broken connections, killed instances and
 * resumed tokens.
 */
export class Subscriber {
  readonly member: Member;
  readonly pattern: string;
  /** What it holds true, by key. */
  readonly copy = new Map<string, string>();
  readonly problems: string[] = [];
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #token: string | undefined;

  constructor(member: Member, pattern: string) {
    this.member = member;
    this.pattern = pattern;
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const data = this.member.node?.data;
      try {
        if (data) await this.#follow(data);
      } catch {
        // The instance went away: go on behind the last event, at its next start.
      }
      await sleep(20);
    }
  }

  async #follow(data: NonNullable<Member['node']>['data']): Promise<void> {
    const { signal } = this.#stopping;
    const from = this.#token === undefined ? {} : { from: this.#token };
    /** Times of the last events: within one connection a key never goes back. */
    const times = new Map<string, number>();
    for await (const event of data.watch(this.pattern, { include_existing: true, signal, ...from })) {
      this.#token = event.token;
      if (event.type === 'resync') {
        this.copy.clear();
        times.clear();
      } else if (event.type === 'update' || event.type === 'delete') {
        const { key, timestamp } = event;
        if (timestamp < (times.get(key) ?? 0)) this.problems.push(`${this.member.name}: events of ${key} go back`);
        times.set(key, timestamp);
        if (event.type === 'delete') this.copy.delete(key);
        else this.copy.set(key, typeof event.value === 'string' ? event.value : JSON.stringify(event.value));
      }
    }
  }
}
