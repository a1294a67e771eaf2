import { IpeError } from '@ipe/core';
import type { KeyRing, SignedSecret } from './key-ring.ts';
import type { PeerLink } from './link.ts';
import type { MemberDirectory } from './members.ts';
import type { Peers } from './peers.ts';

const askName = 'member.secrets';
const newsName = 'member.secrets-news';
const timeoutMs = 5_000;

/**
 * Brings every active member the secrets that seal batches, over the links and to nobody else: asked for when a link
 * comes up, when a peer tells that it has a newer one, and when a batch names a key that is not known here.
 */
export class KeyExchange {
  readonly #ring: KeyRing;
  readonly #peers: Peers;
  readonly #asking = new Set<PeerLink>();
  readonly #onError: (error: unknown, what: string) => void;
  readonly #stops: (() => void)[] = [];

  constructor(options: {
    readonly ring: KeyRing;
    readonly peers: Peers;
    readonly directory: MemberDirectory;
    readonly onError: (error: unknown, what: string) => void;
  }) {
    const { ring, peers, directory, onError } = options;
    this.#ring = ring;
    this.#peers = peers;
    this.#onError = onError;
    peers.handle(askName, async (body, { fingerprint }) => {
      // A member that was evicted this moment may still hold its link.
      if (directory.active(fingerprint) === undefined) throw new IpeError('forbidden', 'not an active member');
      return Buffer.from(JSON.stringify(ring.after(numberIn(body))));
    });
    peers.handle(newsName, (body, { fingerprint }) => {
      const link = peers.link(fingerprint);
      if (link !== undefined && numberIn(body) > ring.current.number) this.#ask(link);
      return undefined;
    });
    const up = (link: PeerLink) => this.#ask(link);
    peers.on('up', up);
    for (const link of peers.links()) this.#ask(link);
    this.#stops.push(
      () => peers.off('up', up),
      ring.onChange(() => {
        const news = Buffer.from(String(ring.current.number));
        for (const link of peers.links()) link.send(newsName, news);
      }),
    );
  }

  /** Asks all peers: a key is needed that is not here. */
  want(): void {
    for (const link of this.#peers.links()) this.#ask(link);
  }

  close(): void {
    for (const stop of this.#stops) stop();
  }

  #ask(link: PeerLink): void {
    if (this.#asking.has(link)) return;
    this.#asking.add(link);
    const known = Buffer.from(String(this.#ring.current.number));
    link
      .request(askName, known, { timeoutMs })
      .then((answer) => this.#ring.take(JSON.parse(Buffer.from(answer).toString('utf8')) as SignedSecret[]))
      .catch((error) => {
        if (!link.closed) this.#onError(error, 'asking a peer for sealing secrets');
      })
      .finally(() => this.#asking.delete(link));
  }
}

function numberIn(body: Uint8Array): number {
  const text = Buffer.from(body).toString('utf8');
  if (!/^\d{1,10}$/.test(text)) throw new IpeError('invalid_params', 'expected the number of a secret');
  return Number(text);
}
