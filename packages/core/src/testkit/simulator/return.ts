import {
  type Aside,
  carriedOn,
  decodeRecord,
  type LogRecord,
  readMetadata,
  Sources,
  setAside,
} from '../../replica/index.ts';
import type { Disk } from './disk.ts';
import type { Instance } from './instance.ts';
import type { Mutation } from './mutation.ts';
import type { Network } from './network.ts';
import type { Oracle } from './oracle.ts';
import type { Scheduler } from './scheduler.ts';

export interface ReturnsOptions {
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly oracle: Oracle;
  readonly mutation: Mutation;
  /** The instance that holds the cluster key. */
  readonly holder: () => Instance;
  /** A member was taken back: it may start. */
  readonly onBack: (instance: Instance) => void;
}

const attemptMs = 1_000;

/** The way back of members that were evicted: what nodes do at their start, and after it. */
export class Returns {
  readonly #options: ReturnsOptions;
  /** What returning members carry: a file beside the store. */
  readonly #carried = new Map<Instance, Aside>();
  readonly #asking = new Set<Instance>();

  constructor(options: ReturnsOptions) {
    this.#options = options;
  }

  /** Whether a member is on its way, or has not offered everything yet. */
  isUnderWay(instance: Instance): boolean {
    return this.#asking.has(instance) || this.#carried.has(instance);
  }

  /** Sets aside what an evicted member alone has, empties its disk, and asks to be taken back until it is. */
  begin(instance: Instance): void {
    if (this.#asking.has(instance)) return;
    this.#asking.add(instance);
    const { mutation, oracle } = this.#options;
    const { disk, membership, origin } = instance;
    if (!mutation.keepsStore) {
      const aside = asideOf(disk, origin, membership.own?.lastAccepted ?? {}, this.#carried.get(instance));
      this.#carried.set(instance, aside);
      oracle.withdrawn(aside.closed, aside.missing);
      disk.wipe();
    }
    this.#ask(instance);
  }

  /** A member starts: it offers what it carries, if anything. */
  started(instance: Instance): void {
    const aside = this.#carried.get(instance);
    if (aside === undefined) return;
    const { replica, exchange } = instance;
    offerAgain(
      aside,
      {
        sources: replica.sources,
        // Each of them has counted with this member from when it answered: what it purged before, it has told.
        isReady: () => instance.holdings.isSettled && exchange.known.hasRegained(instance.origin),
        offer: (namespace, records, counted, done) => {
          const purgedMs = exchange.known.purgedMs(namespace);
          const event = (id: number) => ({ type: 'offer', id, records, counted, purgedMs }) as const;
          instance.ask(event, ({ ok }) => done(ok));
        },
        later: (delayMs, run) => instance.later(delayMs, run),
      },
      () => {
        instance.disk.sync();
        this.#carried.delete(instance);
      },
    );
  }

  #ask(instance: Instance): void {
    const { scheduler, network, holder, onBack } = this.#options;
    const { membership, origin, member } = instance;
    const at = holder();
    if (network.passes(member, at.member) && at.admits(origin)) {
      at.membership.readmit(origin, this.#carried.get(instance)?.closed ?? {});
      // An answer may be lost: it is asked for again.
      if (network.passes(at.member, member)) {
        this.#asking.delete(instance);
        for (const known of at.membership.list()) membership.put(known);
        onBack(instance);
        return;
      }
    }
    scheduler.after(attemptMs, () => this.#ask(instance));
  }
}

/** Reads from a disk what an evicted member takes along. */
function asideOf(disk: Disk, origin: string, accepted: Aside['closed'], earlier: Aside | undefined): Aside {
  const sources = new Sources();
  const recovered = readMetadata(disk.rows('metadata'), sources);
  const namespaces = [...recovered.namespaces].map(([name, { heads }]) => ({ name, heads }));
  const reading = setAside({ origin, sources, namespaces, accepted });
  let step = reading.next();
  while (!step.done) step = reading.next(disk.get('log', step.value));
  return earlier === undefined ? step.value : carriedOn(earlier, recovered, step.value, sources);
}

interface OfferingSite {
  readonly sources: Sources;
  readonly isReady: () => boolean;
  offer(
    namespace: string,
    records: readonly LogRecord[],
    counted: readonly LogRecord[],
    done: (isDone: boolean) => void,
  ): void;
  later(delayMs: number, run: () => void): void;
}

const lookMs = 200;

/** Offers again what a returned instance alone had written, once it holds what the others do. @param done all of it is */
function offerAgain({ records, counted }: Aside, site: OfferingSite, done: () => void): void {
  const decode = (rows: readonly Uint8Array[]) => rows.map((row) => decodeRecord(row, site.sources));
  const [own, before] = [decode(records), decode(counted)];
  const namespaces = [...new Set(own.map(({ namespace }) => namespace))];
  const next = () => {
    const [namespace] = namespaces;
    if (namespace === undefined) {
      done();
      return;
    }
    const offered = own.filter((record) => record.namespace === namespace);
    site.offer(namespace, offered, before, (isDone) => {
      if (isDone) namespaces.shift();
      site.later(isDone ? 0 : lookMs, next);
    });
  };
  const look = () => (site.isReady() ? next() : site.later(lookMs, look));
  look();
}
