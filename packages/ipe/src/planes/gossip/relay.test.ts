import { Random } from '@ipe/core/testkit';
import { expect, test } from 'vitest';
import { type GossipLink, type GossipPeers, openGossipPlane } from './plane.ts';

type Handler = Parameters<GossipPeers['handle']>[1];

/** Members of one process, each linked to every other; what is sent arrives in a later turn. */
class MemoryMembers {
  readonly #handlers = new Map<string, Map<string, Handler>>();
  readonly #names: readonly string[];
  pushes = 0;

  constructor(count: number) {
    this.#names = Array.from({ length: count }, (_, i) => `m${i}`);
    for (const name of this.#names) this.#handlers.set(name, new Map());
  }

  peersOf(name: string): GossipPeers {
    const links = this.#names.filter((other) => other !== name).map((other) => this.#link(name, other));
    return {
      handle: (method, handler) => this.#handlers.get(name)!.set(method, handler),
      on: () => {},
      links: () => links,
    };
  }

  #link(from: string, to: string): GossipLink {
    const call = async (method: string, body: Uint8Array) => {
      await Promise.resolve();
      await this.#handlers.get(to)!.get(method)!(body, { fingerprint: from });
      return new Uint8Array();
    };
    return {
      fingerprint: to,
      bufferedBytes: 0,
      send: (method, body) => {
        this.pushes++;
        void call(method, body);
      },
      request: call,
      drain: async () => {},
    };
  }
}

test.each([33, 48, 100])(
  'among %i members nearly every batch reaches everybody by relay, each once, for a bounded number of sends',
  async (count) => {
    const members = new MemoryMembers(count);
    const random = new Random(count);
    const fanout = 8;
    const planes = Array.from({ length: count }, (_, i) =>
      openGossipPlane({ peers: members.peersOf(`m${i}`), fanout, pushAllMax: 31, random: random.next }),
    );
    const seen = planes.map(() => new Map<string, number>());
    await Promise.all(planes.map((plane) => plane.start()));
    await Promise.all(
      planes.map(
        (plane, i) =>
          plane.subscribe('all', async ({ id }) => {
            seen[i]!.set(id, (seen[i]!.get(id) ?? 0) + 1);
          }).ready,
      ),
    );

    const batches = 50;
    for (let n = 0; n < batches; n++) {
      const sender = random.int(0, count - 1);
      await planes[sender]!.publish({ namespace: 'a', origin: 'aa', id: `${sender}-${n}`, body: new Uint8Array(8) });
    }
    // Everything under way has arrived once nothing is pushed any more over a whole turn.
    for (let before = -1; before !== members.pushes; ) {
      before = members.pushes;
      await new Promise((resolve) => setImmediate(resolve));
    }

    const deliveries = seen.flatMap((ids) => [...ids.values()]);
    expect(deliveries.every((times) => times === 1)).toBe(true);
    // A relay misses a member with a chance of about e^-8; anti-entropy brings what is missed.
    expect(deliveries.length).toBeGreaterThan(0.995 * batches * (count - 1));
    expect(members.pushes).toBeLessThanOrEqual(batches * count * fanout);
  },
);
