import type { MessagePlane, PlaneDelivery, PlaneInterest, PlaneSubscription } from '../plane/index.ts';

/** What the kit needs from a test runner; vitest's and Node's `test` both fit. */
export type TestFunction = (title: string, run: () => Promise<void>) => void;

/** A broker (or the lack of one) and planes connected to it, made anew for each test. */
export interface PlaneFixture {
  /** Opens a plane of its own, not started. The kit closes it. */
  open(): MessagePlane;
  /** Kills the broker without warning; absent where there is none to kill. */
  kill?(): Promise<void>;
  /** Starts it again on the same address, with what it had on disk. */
  restart?(): Promise<void>;
  /** Starts it again on the same address with nothing. */
  restartEmpty?(): Promise<void>;
  /** Removes all messages it keeps. */
  purge?(): Promise<void>;
  /** Releases everything. */
  close(): Promise<void>;
}

/**
 * What a test may need of a plane or its broker. `resume`: every delivery has a cursor; `order`: one origin's batches
 * keep theirs.
 */
export type BrokerAbility = 'kill' | 'restart' | 'restartEmpty' | 'purge' | 'resume' | 'order';

/** How the kit is run: the runner, the fixture and what it offers. */
export interface PlaneConformanceOptions {
  readonly test: TestFunction;
  readonly setUp: () => Promise<PlaneFixture>;
  /** What can be done to the fixture's broker; tests that need more are reported as skipped. */
  readonly offers: readonly BrokerAbility[];
  /** Reports a test that does not apply, by a title that says why. */
  readonly skipTest: (title: string) => void;
  /** Lets the runtime's event loop turn (a short timer), so that sockets are served between repeated attempts. */
  readonly turn: () => Promise<void>;
}

const utf8 = {
  encode: (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0)),
  decode: (bytes: Uint8Array) => String.fromCharCode(...bytes),
};

/**
 * Checks the contract of `MessagePlane` against a real plane. Every wait is on an event of the plane; the only clock is
 * the runner's own time limit.
 */
export function runPlaneConformance(options: PlaneConformanceOptions): void {
  const { turn } = options;
  const cases: Case[] = [
    [
      'a batch reaches the subscribers of its namespace, byte for byte, with its origin',
      async (fixture, use) => {
        const sender = use(fixture.open());
        const receiver = use(fixture.open());
        await started(turn, sender, receiver);
        const inbox = new Inbox(receiver, ['approvals']);
        await inbox.ready;
        const body = Uint8Array.from({ length: 256 }, (_, i) => i);
        await publish(sender, 'other', 'not wanted');
        await publishBytes(sender, 'approvals', body);
        const [delivery] = await inbox.take(1);
        equal(delivery!.namespace, 'approvals');
        equal(delivery!.origin, originA);
        equal(delivery!.body.join(), body.join());
      },
    ],
    [
      'an interest in all namespaces receives namespaces that did not exist when it began',
      async (fixture, use) => {
        const sender = use(fixture.open());
        const receiver = use(fixture.open());
        await started(turn, sender, receiver);
        const inbox = new Inbox(receiver, 'all');
        await inbox.ready;
        await publish(sender, 'first', '1');
        await publish(sender, 'second', '2');
        equal((await inbox.texts(2)).sort().join(), '1,2');
      },
    ],
    [
      'batches of one origin and namespace arrive in the order of publication',
      async (fixture, use) => {
        const sender = use(fixture.open());
        const receiver = use(fixture.open());
        await started(turn, sender, receiver);
        const inbox = new Inbox(receiver, ['orders']);
        await inbox.ready;
        const sent = Array.from({ length: 50 }, (_, i) => String(i));
        for (const text of sent) await publish(sender, 'orders', text);
        equal(unrepeated(await inbox.texts(50)).join(), sent.join());
      },
      ['order'],
    ],
    [
      'a subscriber gets the next batch only when it has taken the one before',
      async (fixture, use) => {
        const sender = use(fixture.open());
        const receiver = use(fixture.open());
        await started(turn, sender, receiver);
        let busy = 0;
        let most = 0;
        const inbox = new Inbox(receiver, ['slow'], undefined, async () => {
          most = Math.max(most, ++busy);
          for (let i = 0; i < 5; i++) await Promise.resolve();
          busy--;
        });
        await inbox.ready;
        for (let i = 0; i < 20; i++) await publish(sender, 'slow', String(i));
        await inbox.texts(20);
        equal(most, 1);
      },
    ],
    [
      'a batch that the subscriber rejects is delivered again before the ones behind it',
      async (fixture, use) => {
        const sender = use(fixture.open());
        const receiver = use(fixture.open());
        await started(turn, sender, receiver);
        let refusals = 2;
        const inbox = new Inbox(receiver, ['retry'], undefined, async () => {
          if (refusals-- > 0) throw new Error('not yet');
        });
        await inbox.ready;
        await publish(sender, 'retry', 'a');
        await publish(sender, 'retry', 'b');
        equal(unrepeated(await inbox.texts(2)).join(), 'a,b');
      },
    ],
    [
      'a new interest replaces the old one',
      async (fixture, use) => {
        const sender = use(fixture.open());
        const receiver = use(fixture.open());
        await started(turn, sender, receiver);
        const inbox = new Inbox(receiver, ['before']);
        await inbox.ready;
        await publish(sender, 'before', '1');
        equal((await inbox.texts(1)).join(), '1');
        inbox.subscription.update(['after', 'before']);
        // Until the new reader has begun, batches of the new namespace may pass unseen: repeat until one is.
        await repeatUntil(inbox, 1, turn, (n) => publish(sender, 'after', `after-${n}`));
      },
    ],
    [
      'a cursor resumes behind the batch it came with, also in another plane instance',
      async (fixture, use) => {
        const sender = use(fixture.open());
        const first = use(fixture.open());
        await started(turn, sender, first);
        const before = new Inbox(first, ['resumed']);
        await before.ready;
        await publish(sender, 'resumed', '1');
        const [one] = await before.take(1);
        await first.close();
        await publish(sender, 'resumed', '2');
        await publish(sender, 'resumed', '3');
        const second = use(fixture.open());
        await second.start();
        const after = new Inbox(second, ['resumed'], one!.cursor);
        equal(unrepeated(await after.texts(2)).join(), '2,3');
      },
      ['resume'],
    ],
    [
      'a batch over the limit is refused as too_large and changes nothing',
      async (fixture, use) => {
        const sender = use(fixture.open());
        const receiver = use(fixture.open());
        await started(turn, sender, receiver);
        const inbox = new Inbox(receiver, ['large']);
        await inbox.ready;
        const error = await publishBytes(sender, 'large', new Uint8Array(sender.bodyBytesMax + 1)).catch((e) => e);
        equal(error?.reason, 'too_large');
        await publish(sender, 'large', 'small');
        equal((await inbox.texts(1)).join(), 'small');
      },
    ],
    [
      'after close, publishing is refused as unavailable, and closing again does nothing',
      async (fixture, use) => {
        const plane = use(fixture.open());
        await plane.start();
        await plane.close();
        const error = await publish(plane, 'closed', 'x').catch((e) => e);
        equal(error?.reason, 'unavailable');
        equal(plane.status().connected, false);
        await plane.close();
      },
    ],
    [
      'a broker that is down at start is waited for, and publishing is refused meanwhile',
      async (fixture, use) => {
        await fixture.kill!();
        const plane = use(fixture.open());
        await plane.start();
        const error = await publish(plane, 'later', 'x').catch((e) => e);
        equal(error?.reason, 'unavailable');
        equal(plane.status().connected, false);
        await fixture.restart!();
        const inbox = new Inbox(plane, ['later']);
        await inbox.ready;
        await publishUntilTaken(plane, 'later', 'y', turn);
        equal((await inbox.texts(1)).join(), 'y');
      },
      ['kill', 'restart'],
    ],
    [
      'deliveries go on after the broker was killed and started again',
      async (fixture, use) => {
        const sender = use(fixture.open());
        const receiver = use(fixture.open());
        await started(turn, sender, receiver);
        const inbox = new Inbox(receiver, ['killed']);
        await inbox.ready;
        await publish(sender, 'killed', 'before');
        equal((await inbox.texts(1)).join(), 'before');
        await fixture.kill!();
        await fixture.restart!();
        await repeatUntil(inbox, 1, turn, (n) => publishUntilTaken(sender, 'killed', `after-${n}`, turn));
      },
      ['kill', 'restart'],
    ],
    [
      'deliveries go on after the broker lost everything it had, its sequence numbers too',
      async (fixture, use) => {
        const sender = use(fixture.open());
        const receiver = use(fixture.open());
        await started(turn, sender, receiver);
        const inbox = new Inbox(receiver, ['emptied']);
        await inbox.ready;
        for (let i = 0; i < 5; i++) await publish(sender, 'emptied', `before-${i}`);
        await inbox.texts(5);
        await fixture.kill!();
        await fixture.restartEmpty!();
        await repeatUntil(inbox, 1, turn, (n) => publishUntilTaken(sender, 'emptied', `after-${n}`, turn));
      },
      ['kill', 'restartEmpty'],
    ],
    [
      'deliveries go on after the messages were purged, and an old cursor is no obstacle',
      async (fixture, use) => {
        const sender = use(fixture.open());
        const receiver = use(fixture.open());
        await started(turn, sender, receiver);
        const inbox = new Inbox(receiver, ['purged']);
        await inbox.ready;
        await publish(sender, 'purged', '1');
        await publish(sender, 'purged', '2');
        const [one] = await inbox.take(2);
        await fixture.purge!();
        await repeatUntil(inbox, 1, turn, (n) => publish(sender, 'purged', `live-${n}`));
        const later = new Inbox(receiver, ['purged'], one!.cursor);
        await repeatUntil(later, 1, turn, (n) => publish(sender, 'purged', `resumed-${n}`));
      },
      ['purge'],
    ],
  ];
  for (const [title, run, needs = []] of cases) {
    const lacking = needs.filter((ability) => !options.offers.includes(ability));
    if (lacking.length > 0) {
      options.skipTest(`${title} (skipped: this fixture cannot ${lacking.join(', ')})`);
      continue;
    }
    options.test(title, async () => {
      const fixture = await options.setUp();
      const used: Closable[] = [];
      try {
        await run(fixture, (closable) => {
          used.push(closable);
          return closable;
        });
      } finally {
        for (const closable of used) await closable.close();
        await fixture.close();
      }
    });
  }
}

type Case = [
  title: string,
  run: (fixture: PlaneFixture, use: <T extends Closable>(x: T) => T) => Promise<void>,
  needs?: readonly BrokerAbility[],
];

interface Closable {
  close(): Promise<void>;
}

const originA = '00000000000000aa';
let serial = 0;

function publishBytes(plane: MessagePlane, namespace: string, body: Uint8Array): Promise<void> {
  return plane.publish({ namespace, origin: originA, id: `kit-${serial++}-${namespace}`, body });
}

function publish(plane: MessagePlane, namespace: string, text: string): Promise<void> {
  return publishBytes(plane, namespace, utf8.encode(text));
}

/** Starts planes and waits until each is connected: one that is ready to receive says nothing of one that sends. */
async function started(turn: () => Promise<void>, ...planes: readonly MessagePlane[]): Promise<void> {
  await Promise.all(planes.map((plane) => plane.start()));
  while (!planes.every((plane) => plane.status().connected)) await turn();
}

/** As the outbox does: the same batch again until the plane takes it. */
async function publishUntilTaken(
  plane: MessagePlane,
  namespace: string,
  text: string,
  turn: () => Promise<void>,
): Promise<void> {
  for (;;) {
    try {
      await publish(plane, namespace, text);
      return;
    } catch (error) {
      if ((error as { reason?: string }).reason !== 'unavailable') throw error;
      await turn();
    }
  }
}

/** Publishes again and again until `count` deliveries have come: for moments when the first ones may be missed. */
async function repeatUntil(
  inbox: Inbox,
  count: number,
  turn: () => Promise<void>,
  send: (n: number) => Promise<void>,
): Promise<void> {
  const arrived = inbox.take(count);
  let done = false;
  void arrived.then(() => {
    done = true;
  });
  for (let n = 0; !done; n++) {
    await send(n);
    await turn();
  }
  await arrived;
}

class Inbox {
  readonly subscription: PlaneSubscription;
  readonly ready: Promise<void>;
  readonly #arrived: PlaneDelivery[] = [];
  #wake: () => void = () => {};

  constructor(
    plane: MessagePlane,
    interest: PlaneInterest,
    cursor?: string,
    before?: (delivery: PlaneDelivery) => Promise<void>,
  ) {
    this.subscription = plane.subscribe(
      interest,
      async (delivery) => {
        await before?.(delivery);
        this.#arrived.push({ ...delivery, body: delivery.body.slice() });
        this.#wake();
      },
      cursor,
    );
    this.ready = this.subscription.ready;
  }

  /** The next `count` deliveries, repeats of a body left out. */
  async take(count: number): Promise<PlaneDelivery[]> {
    for (;;) {
      const distinct = [...new Map(this.#arrived.map((delivery) => [utf8.decode(delivery.body), delivery])).values()];
      if (distinct.length >= count) {
        this.#arrived.length = 0;
        return distinct;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async texts(count: number): Promise<string[]> {
    return (await this.take(count)).map((delivery) => utf8.decode(delivery.body));
  }
}

function unrepeated(texts: readonly string[]): string[] {
  return texts.filter((text, i) => text !== texts[i - 1]);
}

function equal(actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Error(`expected ${String(expected)}, got ${String(actual)}`);
}
