import type { Endpoint, Network } from './network.ts';
import type { BrokerFault } from './plan.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** Records of one origin in one namespace, as they go over the plane. */
export interface Batch {
  readonly namespace: string;
  readonly origin: string;
  readonly id: string;
  readonly records: readonly Uint8Array[];
}

/** An instance that takes batches. */
export interface Receiver extends Endpoint {
  deliver(batch: Batch, cursor: number): void;
}

/** A message plane with calls instead of promises: may lose, repeat, delay or reorder anything. */
export interface Plane {
  /** Calls back with whether the plane has taken the batch. */
  publish(from: Receiver, batch: Batch, done: (isTaken: boolean) => void): void;
  /** Delivers what is published from now on, and what is kept behind `cursor`. */
  subscribe(receiver: Receiver, cursor: number | undefined): void;
  disturb(fault: BrokerFault, forMs: number): void;
  calm(): void;
}

/** No plane: anti-entropy alone. */
export const noPlane: Plane = {
  publish: () => {},
  subscribe: () => {},
  disturb: () => {},
  calm: () => {},
};

/** Every instance to every other, as gossip does in small clusters. */
export class DirectPlane implements Plane {
  readonly #network: Network;

  constructor(network: Network) {
    this.#network = network;
  }

  publish(from: Receiver, batch: Batch, done: (isTaken: boolean) => void): void {
    for (const to of this.#network.others(from)) this.#network.send(from, to, () => (to as Receiver).deliver(batch, 0));
    done(true);
  }

  subscribe(): void {}
  disturb(): void {}
  calm(): void {}
}

/** Messages that a broker keeps. */
const keptMax = 100;
/** Ids that it remembers for deduplication. */
const idsMax = 20;

/**
 * A broker as brokers are: keeps so many messages, drops repeated ids within a window, delivers at least once and not
 * always in order, is away, loses what it had, numbers anew, and acknowledges what it does not keep.
 */
export class Broker implements Plane {
  readonly #scheduler: Scheduler;
  readonly #random: Random;
  readonly #trace: (text: string) => void;
  readonly #subscribers = new Map<Receiver, number>();
  #kept: { readonly number: number; readonly batch: Batch }[] = [];
  #ids: string[] = [];
  #last = 0;
  #downUntilMs = 0;
  #lieUntilMs = 0;
  #isCalm = false;

  constructor(scheduler: Scheduler, random: Random, trace: (text: string) => void) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#trace = trace;
  }

  publish(_from: Receiver, batch: Batch, done: (isTaken: boolean) => void): void {
    const { nowMs } = this.#scheduler;
    this.#trace(`publish ${batch.id}`);
    const answer = (isTaken: boolean) => this.#scheduler.after(this.#random.int(1, 20), () => done(isTaken));
    if (nowMs < this.#downUntilMs) {
      answer(false);
      return;
    }
    if (nowMs >= this.#lieUntilMs && !this.#ids.includes(batch.id)) {
      this.#ids = [...this.#ids, batch.id].slice(-idsMax);
      this.#kept.push({ number: ++this.#last, batch });
      if (this.#kept.length > keptMax) this.#kept.shift();
      for (const subscriber of this.#subscribers.keys()) this.#deliver(subscriber);
    }
    // An acknowledgement that is lost: the publisher sends the batch again.
    answer(this.#isCalm || this.#random.chance(0.95));
  }

  subscribe(receiver: Receiver, cursor: number | undefined): void {
    // A cursor that the broker does not know any more goes on with what there still is.
    const from = cursor === undefined ? this.#last : cursor > this.#last ? 0 : cursor;
    this.#subscribers.set(receiver, from);
    this.#deliver(receiver);
  }

  disturb(fault: BrokerFault, forMs: number): void {
    this.#trace(`broker ${fault}`);
    const untilMs = this.#scheduler.nowMs + forMs;
    if (fault === 'down') this.#downUntilMs = untilMs;
    else if (fault === 'lie') this.#lieUntilMs = untilMs;
    else {
      this.#kept = [];
      if (fault !== 'reset') return;
      this.#last = 0;
      this.#ids = [];
      for (const subscriber of this.#subscribers.keys()) this.#subscribers.set(subscriber, 0);
    }
  }

  calm(): void {
    this.#isCalm = true;
    this.#downUntilMs = this.#lieUntilMs = 0;
  }

  #deliver(receiver: Receiver): void {
    const after = this.#subscribers.get(receiver)!;
    for (const { number, batch } of this.#kept) {
      if (number <= after) continue;
      const copies = !this.#isCalm && this.#random.chance(0.05) ? 2 : 1;
      for (let i = 0; i < copies; i++) {
        this.#scheduler.after(this.#random.int(1, 40), () => {
          if (receiver.isUp) receiver.deliver(batch, number);
        });
      }
    }
    this.#subscribers.set(receiver, this.#last);
  }
}
