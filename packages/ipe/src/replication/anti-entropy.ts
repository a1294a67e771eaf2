import { IpeError } from '@ipe/core';
import {
  type DataFamily,
  decodeCell,
  decodeRecord,
  decodeReport,
  Exchange,
  type ExchangeEffect,
  type ExchangeEvent,
  encodeReport,
  type Head,
  type KeyState,
  liveKey,
  type PullOutcome,
  type Source,
  type Strategy,
} from '@ipe/core/replica';
import type { Kv } from '@ipe/core/store';
import type { PeerLink } from '../cluster/link.ts';
import type { Peers } from '../cluster/peers.ts';
import { readLog } from './log-reader.ts';
import { decodePage, decodeSlice, encodePage, encodeSlice, type SnapshotPage } from './transfer.ts';

/** What anti-entropy needs of this instance's facts. */
export interface LocalFacts {
  readonly origin: string;
  readonly kv: Kv<DataFamily>;
  readonly sources: Parameters<typeof decodeReport>[1];
  strategyOf(namespace: string): Strategy;
  /** The purge floor of a namespace: the highest version ever purged there. */
  floorOf(namespace: string): number;
  headsOf(namespace: string): ReadonlyMap<Source, number>;
  report(): Parameters<typeof encodeReport>[0];
  takeRecords(from: string, records: readonly ReturnType<typeof decodeRecord>[]): void;
  /** Resolves once the durable heads reach a record; rejects when that cannot be expected any more. */
  untilHeld(namespace: string, source: Source, seq: number, signal: AbortSignal): Promise<void>;
  joinStates(namespace: string, entries: readonly { key: string; state: KeyState }[]): Promise<void>;
  advance(namespace: string, heads: readonly Head[], floor: number): Promise<void>;
}

export interface AntiEntropyOptions {
  readonly facts: LocalFacts;
  readonly peers: Peers;
  /** Origin of the member that a certificate belongs to. */
  readonly originOf: (fingerprint: string) => string | undefined;
  /** Certificate of a member. */
  readonly fingerprintOf: (origin: string) => string | undefined;
  readonly isOfInterest: (namespace: string) => boolean;
  readonly now: () => number;
  readonly intervalMs?: number;
  readonly onWhole: (namespace: string) => void;
  readonly onMismatch: (mismatch: Extract<ExchangeEffect, { type: 'mismatch' }>) => void;
  readonly onError: (error: unknown, what: string) => void;
}

const reportName = 'facts.report';
const logName = 'facts.log';
const snapshotName = 'facts.snapshot';
const tickMs = 100;
const requestTimeoutMs = 5_000;
const transferTimeoutMs = 30_000;
const sliceBytes = 1024 * 1024;

/**
 * Drives the exchange over the peer links: carries its questions and reports, and fetches what it asks to be fetched.
 * Whatever planes lose, this finds; nothing depends on anything else.
 */
export class AntiEntropy {
  readonly exchange: Exchange;
  readonly #options: AntiEntropyOptions;
  readonly #closing = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  /** Where an interrupted bootstrap goes on, by `namespace/peer`. */
  readonly #cursors = new Map<string, { page: SnapshotPage['head']; after: string | undefined }>();
  #hurried = false;
  pulledRecords = 0;
  joinedStates = 0;

  constructor(options: AntiEntropyOptions) {
    this.#options = options;
    this.exchange = new Exchange({ intervalMs: options.intervalMs ?? 1_000, pullsMax: 16 });
    const { peers } = options;
    peers.handle(reportName, async (body, { fingerprint }) => this.#answerReport(body, fingerprint));
    peers.handle(logName, (body) => this.#answerLog(body));
    peers.handle(snapshotName, (body) => this.#answerSnapshot(body));
    peers.on('up', (link) => this.#linked(link, 'linked'));
    peers.on('down', (link) => this.#linked(link, 'unlinked'));
    for (const link of peers.links()) this.#linked(link, 'linked');
    this.#timer = setInterval(() => this.step({ type: 'tick' }), tickMs).unref();
  }

  step(event: ExchangeEvent): void {
    if (this.#closing.signal.aborted) return;
    for (const effect of this.exchange.step(event, this.#options.now())) this.#carryOut(effect);
  }

  /** Asks all linked peers in this tick rather than at the next interval. */
  hurry(): void {
    if (this.#hurried || this.#closing.signal.aborted) return;
    this.#hurried = true;
    setImmediate(() => {
      this.#hurried = false;
      this.step({ type: 'hurry' });
    });
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort();
    await Promise.allSettled(this.#underWay);
  }

  #linked(link: PeerLink, type: 'linked' | 'unlinked'): void {
    const peer = this.#options.originOf(link.fingerprint);
    if (peer !== undefined) this.step({ type, peer });
  }

  #carryOut(effect: ExchangeEffect): void {
    switch (effect.type) {
      case 'ask':
        this.#track(this.#ask(effect.peer));
        return;
      case 'pull':
        this.#track(this.#fetch(effect.pull, effect.peer, (link) => this.#pull(link, effect)));
        return;
      case 'bootstrap':
        this.#track(this.#fetch(effect.pull, effect.peer, (link) => this.#bootstrap(link, effect)));
        return;
      case 'whole':
        this.#options.onWhole(effect.namespace);
        return;
      case 'mismatch':
        this.#options.onMismatch(effect);
        return;
    }
  }

  async #ask(peer: string): Promise<void> {
    const { facts } = this.#options;
    try {
      const body = Buffer.from(encodeReport(facts.report()));
      const answer = await this.#link(peer).request(reportName, body, this.#signal(requestTimeoutMs));
      this.#reported(decodeReport(Buffer.from(answer).toString('utf8'), facts.sources), peer, true);
    } catch {
      // The link says itself why it is down; a peer that does not answer is asked again.
      this.step({ type: 'ask-failed', peer });
    }
  }

  #answerReport(body: Uint8Array, fingerprint: string): Uint8Array {
    const { facts, originOf } = this.#options;
    const peer = originOf(fingerprint);
    if (peer !== undefined)
      this.#reported(decodeReport(Buffer.from(body).toString('utf8'), facts.sources), peer, false);
    return Buffer.from(encodeReport(facts.report()));
  }

  /** A member may speak for itself only: its word decides what others purge. */
  #reported(report: ReturnType<typeof decodeReport>, peer: string, isAnswer: boolean): void {
    if (report.origin !== peer) throw new IpeError('forbidden', `\`${peer}\` reports for \`${report.origin}\``);
    const { facts, isOfInterest } = this.#options;
    for (const [namespace, { strategy }] of report.namespaces) {
      if (facts.headsOf(namespace).size > 0 || !isOfInterest(namespace)) continue;
      // A namespace that is new here: from now on its heads, none yet, are ours to fill.
      this.step({ type: 'heads', namespace, vector: { strategy, isWhole: false, heads: new Map() } });
    }
    this.step({ type: 'reported', report, isAnswer });
  }

  async #fetch(pull: number, peer: string, run: (link: PeerLink) => Promise<PullOutcome>): Promise<void> {
    let outcome: PullOutcome = 'failed';
    try {
      outcome = await run(this.#link(peer));
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#options.onError(error, `fetching facts from ${peer}`);
    }
    this.step({ type: 'pulled', pull, outcome });
  }

  async #pull(link: PeerLink, effect: Extract<ExchangeEffect, { type: 'pull' }>): Promise<PullOutcome> {
    const { facts } = this.#options;
    const { namespace, source, upTo, peer } = effect;
    for (let { after } = effect; after < upTo; ) {
      const request = Buffer.from(JSON.stringify({ namespace, source: source.id, after, upTo }));
      const slice = decodeSlice(await link.request(logName, request, this.#signal(transferTimeoutMs)));
      if (slice.isTrimmed) return 'trimmed';
      if (slice.records.length === 0) return 'done';
      facts.takeRecords(
        peer,
        slice.records.map((record) => decodeRecord(record, facts.sources)),
      );
      await facts.untilHeld(namespace, source, slice.upTo, this.#signal(transferTimeoutMs));
      this.pulledRecords += slice.records.length;
      after = slice.upTo;
    }
    return 'done';
  }

  async #bootstrap(link: PeerLink, effect: Extract<ExchangeEffect, { type: 'bootstrap' }>): Promise<PullOutcome> {
    const { facts } = this.#options;
    const { namespace, peer } = effect;
    const place = `${namespace}/${peer}`;
    let { page: head, after } = this.#cursors.get(place) ?? { page: undefined, after: undefined };
    for (;;) {
      const request = Buffer.from(JSON.stringify({ namespace, ...(after !== undefined && { after }) }));
      const page = decodePage(await link.request(snapshotName, request, this.#signal(transferTimeoutMs)));
      // The heads of the first page are what the states reach at least: later pages were read later.
      head ??= page.head;
      const entries = page.rows.map(({ key, row }) => ({
        key,
        state: decodeCell(row, facts.sources, facts.strategyOf(namespace)).state!,
      }));
      if (entries.length > 0) await facts.joinStates(namespace, entries);
      this.joinedStates += entries.length;
      if (page.isLast) break;
      after = page.rows.at(-1)!.key;
      this.#cursors.set(place, { page: head, after });
    }
    this.#cursors.delete(place);
    const heads = Object.entries(head?.heads ?? {}).map(([id, seq]) => ({ source: facts.sources.parse(id)!, seq }));
    await facts.advance(namespace, heads, head?.floor ?? 0);
    return 'done';
  }

  async #answerLog(body: Uint8Array): Promise<Uint8Array> {
    const { facts } = this.#options;
    const { namespace, source: id, after, upTo } = readJson(body);
    const source = typeof id === 'string' ? facts.sources.parse(id) : undefined;
    if (typeof namespace !== 'string' || source === undefined || !isCount(after) || !isCount(upTo)) {
      throw new IpeError('invalid_params', 'a request for records holds `namespace`, `source`, `after` and `upTo`');
    }
    // What is not durable here could be taken back by a crash, and then would be known elsewhere only.
    const bound = Math.min(upTo, facts.headsOf(namespace).get(source) ?? 0);
    if (bound <= after) return encodeSlice({ records: [], upTo: after, isTrimmed: false });
    return encodeSlice(await readLog(facts.kv, namespace, source, after, bound, sliceBytes));
  }

  async #answerSnapshot(body: Uint8Array): Promise<Uint8Array> {
    const { facts } = this.#options;
    const { namespace, after } = readJson(body);
    if (typeof namespace !== 'string' || (after !== undefined && typeof after !== 'string')) {
      throw new IpeError('invalid_params', 'a request for states holds `namespace` and `after`');
    }
    // Read before the rows: what the heads say is in them.
    const heads: Record<string, number> = {};
    for (const [source, seq] of facts.headsOf(namespace)) heads[source.id] = seq;
    const floor = facts.floorOf(namespace);
    const rows: { key: string; row: Uint8Array }[] = [];
    let bytes = 0;
    let isLast = true;
    const from = after === undefined ? { gte: liveKey(`${namespace}.`) } : { gt: liveKey(after) };
    // `/` is the byte after `.`: the end of everything in the namespace.
    const range = { ...from, lt: liveKey(`${namespace}/`), order: 'store' as const };
    for await (const [key, row] of facts.kv.entries('live', range)) {
      if (bytes >= sliceBytes) {
        isLast = false;
        break;
      }
      rows.push({ key: Buffer.from(key).toString('utf8'), row });
      bytes += key.length + row.length;
    }
    await facts.kv.sync();
    return encodePage({ head: { heads, floor }, rows, isLast });
  }

  #link(peer: string): PeerLink {
    const fingerprint = this.#options.fingerprintOf(peer);
    const link = fingerprint === undefined ? undefined : this.#options.peers.link(fingerprint);
    if (!link) throw new IpeError('unavailable', `\`${peer}\` is not linked`);
    return link;
  }

  #signal(timeoutMs: number): AbortSignal {
    return AbortSignal.any([this.#closing.signal, AbortSignal.timeout(timeoutMs)]);
  }

  #track(work: Promise<void>): void {
    this.#underWay.add(work);
    void work.finally(() => this.#underWay.delete(work));
  }
}

function readJson(body: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'));
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Falls through to the error that says so.
  }
  throw new IpeError('parse_error', 'the request is not a JSON object');
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
