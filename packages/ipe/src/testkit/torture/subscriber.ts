import { setTimeout as sleep } from 'node:timers/promises';
import type { Member } from './cluster.ts';

const deletion = 'its deletion';

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
    /** The last events: within one connection a key never goes back. */
    const last = new Map<string, { readonly what: string; readonly timestamp: number }>();
    for await (const event of data.watch(this.pattern, { include_existing: true, signal, ...from })) {
      this.#token = event.token;
      if (event.type === 'resync') {
        this.copy.clear();
        last.clear();
      } else if (event.type === 'update' || event.type === 'delete') {
        const { key, timestamp } = event;
        const what = event.type === 'delete' ? deletion : JSON.stringify(event.value);
        const before = last.get(key);
        // What a returned member deleted is told again, though others have deleted it since.
        const isRepeated = what === deletion && before?.what === deletion;
        if (before !== undefined && timestamp < before.timestamp && !isRepeated) {
          const [from, to] = [`${before.what} at ${before.timestamp}`, `${what} at ${timestamp}`];
          this.problems.push(`${this.member.name}: events of ${key} go back from ${from} to ${to}`);
        }
        last.set(key, { what, timestamp });
        if (event.type === 'delete') this.copy.delete(key);
        else this.copy.set(key, typeof event.value === 'string' ? event.value : JSON.stringify(event.value));
      }
    }
  }
}
