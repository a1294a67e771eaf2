import type { NetworkPlan } from './plan.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** Who can be reached: an instance at an address, while it is up. */
export interface Endpoint {
  /** Position of the member in the plan; a clone has that of its original. */
  readonly member: number;
  readonly isUp: boolean;
  /** Answers a question of a peer. Undefined: it has no answer, and none is sent. */
  answer(from: Endpoint, question: unknown): unknown;
  /** A link came up or went down. */
  linked(peer: Endpoint, isUp: boolean): void;
}

/** How long a one-way cut stays unnoticed by heartbeats. */
const heartbeatMs = 1_000;

/** Links between instances: delay, loss, repetition, reordering, and ways that are cut. */
export class Network {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #plan: NetworkPlan;
  readonly #trace: (text: string) => void;
  readonly #endpoints: Endpoint[] = [];
  /** How many cuts lie over the way from one member to another. */
  readonly #cuts = new Map<string, number>();
  readonly #down = new Set<string>();
  #isCalm = false;
  messages = 0;

  constructor(scheduler: Scheduler, random: Random, plan: NetworkPlan, trace: (text: string) => void) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#plan = plan;
    this.#trace = trace;
  }

  add(endpoint: Endpoint): void {
    this.#endpoints.push(endpoint);
  }

  /** Everybody but this one and those of the same member. */
  others(endpoint: Endpoint): Endpoint[] {
    return this.#endpoints.filter(({ member }) => member !== endpoint.member);
  }

  /** An instance came up or went down: its links with it. */
  turned(endpoint: Endpoint): void {
    for (const other of this.others(endpoint)) {
      if (!other.isUp) continue;
      const isUp = endpoint.isUp && !this.#isDown(endpoint, other);
      other.linked(endpoint, isUp);
      if (endpoint.isUp) endpoint.linked(other, isUp);
    }
  }

  /** Whether a link between two is up. */
  isOpen(a: Endpoint, b: Endpoint): boolean {
    return !this.#isDown(a, b);
  }

  /** Whether something sent from one member to another passes now. */
  passes(from: number, to: number): boolean {
    return this.#isCalm || (!this.#isCut(from, to) && !this.#random.chance(this.#plan.lossRate));
  }

  cut(from: number, to: number, forMs: number): void {
    const way = `${from}>${to}`;
    this.#cuts.set(way, (this.#cuts.get(way) ?? 0) + 1);
    this.#scheduler.after(heartbeatMs, () => this.#watch(from, to));
    this.#scheduler.after(forMs, () => {
      this.#cuts.set(way, this.#cuts.get(way)! - 1);
      this.#watch(from, to);
    });
  }

  /** From now on nothing is lost, repeated or late. */
  calm(): void {
    this.#isCalm = true;
    this.#cuts.clear();
    for (const pair of [...this.#down]) {
      const [a, b] = pair.split('-').map(Number);
      this.#watch(a!, b!);
    }
  }

  /** Sends something to whatever runs as a member, perhaps late, twice or never. */
  send(from: Endpoint, to: Endpoint, arrive: () => void): void {
    const { lossRate, repeatRate, delayMaxMs } = this.#plan;
    const random = this.#random;
    this.messages++;
    this.#trace(`${from.member}>${to.member}`);
    const copies = !this.#isCalm && random.chance(repeatRate) ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      if (!this.#isCalm && (random.chance(lossRate) || this.#isCut(from.member, to.member))) continue;
      this.#scheduler.after(random.int(1, this.#isCalm ? 30 : delayMaxMs), () => {
        if (to.isUp) arrive();
      });
    }
  }

  /** Asks a peer; calls back once, with its answer or with undefined after `timeoutMs`. */
  ask(from: Endpoint, to: Endpoint, question: unknown, timeoutMs: number, done: (answer: unknown) => void): void {
    let isDone = false;
    const end = (answer: unknown) => {
      if (isDone) return;
      isDone = true;
      done(answer);
    };
    this.#scheduler.after(timeoutMs, () => end(undefined));
    this.send(from, to, () => {
      const answer = to.answer(from, question);
      if (answer !== undefined) this.send(to, from, () => end(answer));
    });
  }

  #isCut(from: number, to: number): boolean {
    return (this.#cuts.get(`${from}>${to}`) ?? 0) > 0;
  }

  #isDown(a: Endpoint, b: Endpoint): boolean {
    return this.#down.has(pairOf(a.member, b.member));
  }

  /** Heartbeats: a link with a cut way is down for both ends. */
  #watch(a: number, b: number): void {
    const pair = pairOf(a, b);
    const isDown = this.#isCut(a, b) || this.#isCut(b, a);
    if (a === b || isDown === this.#down.has(pair)) return;
    if (isDown) this.#down.add(pair);
    else this.#down.delete(pair);
    for (const one of this.#endpoints) {
      for (const other of this.#endpoints) {
        if (one.member !== other.member && one.isUp && other.isUp && pairOf(one.member, other.member) === pair)
          one.linked(other, !isDown);
      }
    }
  }
}

const pairOf = (a: number, b: number) => (a < b ? `${a}-${b}` : `${b}-${a}`);
