import { IpeError } from '@ipe/core';
import {
  decodeReport,
  Exchange,
  type ExchangeEffect,
  type ExchangeEvent,
  encodeReport,
  type FetchEffect,
  type FetchEvent,
  Fetches,
  type Head,
  type Holdings,
  headOf,
  type Leases,
  liveKey,
  PageGatherer,
  type StateEntry,
  type Stretch,
  type VectorReport,
} from '@ipe/core/replica';
import type { PeerLink, RequestLimits } from '../cluster/link.ts';
import type { Peers } from '../cluster/peers.ts';
import type { Engine } from '../data/engine.ts';
import { type ReadableLog, readLog } from './log-reader.ts';
import type { HeldSlice, QuarantineKeeper } from './quarantine.ts';
import { decodePage, decodeSlice, encodeLogRequest, encodePage, encodeSlice, logRequestName } from './transfer.ts';

export interface AntiEntropyOptions {
  readonly engine: Engine;
  readonly holdings: Holdings;
  readonly peers: Peers;
  /** Origin of the member that a certificate belongs to. */
  readonly originOf: (fingerprint: string) => string | undefined;
  /** Certificate of a member. */
  readonly fingerprintOf: (origin: string) => string | undefined;
  readonly now: () => number;
  readonly intervalMs?: number;
  readonly leases: Leases;
  /** Whether a message plane is there and in reach. */
  readonly isPlaneConnected: () => boolean;
  /** What peers are given records from. */
  readonly ownLog: ReadableLog;
  readonly quarantine: Pick<QuarantineKeeper, 'heldAfter'>;
  readonly onWhole: (namespace: string) => void;
  /** States came in, and the vector moved with them. */
  readonly onAdvanced: (namespace: string) => void;
  /** This store is an old copy, as a peer knows. */
  readonly onGoneBack: (goneBack: Extract<ExchangeEffect, { type: 'gone-back' }>) => void;
  readonly onMismatch: (mismatch: Extract<ExchangeEffect, { type: 'mismatch' }>) => void;
  readonly onError: (error: unknown, what: string) => void;
}

const reportName = 'facts.report';
const snapshotName = 'facts.snapshot';
const tickMs = 250;
const requestTimeoutMs = 5_000;
const transferTimeoutMs = 30_000;
const sliceBytes = 1024 * 1024;

/**
 * Drives exchange and fetches over the peer links: carries their questions and reports, and stores what they bring.
 * Whatever planes lose, this finds; nothing depends on anything else.
 */
export class AntiEntropy {
  readonly exchange: Exchange;
  readonly fetches: Fetches;
  readonly #options: AntiEntropyOptions;
  readonly #closing = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  #hurried = false;
  #isDelivering = false;

  constructor(options: AntiEntropyOptions) {
    this.#options = options;
    const { peers, engine, holdings } = options;
    this.exchange = new Exchange({
      intervalMs: options.intervalMs ?? 1_000,
      pullsMax: 16,
      leases: options.leases,
      self: { origin: holdings.origin, isClosed: (source, nowMs) => engine.replica.isClosed(source, nowMs) },
    });
    this.fetches = new Fetches({
      sources: engine.replica.sources,
      strategyOf: (namespace) => engine.replica.strategyOf(namespace),
      holds: (namespace, source, seq) => holdings.holds(namespace, source, seq),
      isWhole: (namespace) => holdings.isWhole(namespace),
      stepTimeoutMs: transferTimeoutMs,
    });
    peers.handle(reportName, async (body, { fingerprint }) => this.#answerReport(body, fingerprint));
    peers.handle(logRequestName, (body) => this.#answerLog(body));
    peers.handle(snapshotName, (body) => this.#answerSnapshot(body));
    peers.on('up', (link) => this.#linked(link, 'linked'));
    peers.on('down', (link) => this.#linked(link, 'unlinked'));
    for (const link of peers.links()) this.#linked(link, 'linked');
    this.#timer = setInterval(() => {
      const isDelivering = options.isPlaneConnected();
      if (isDelivering !== this.#isDelivering) this.step({ type: 'plane', isDelivering });
      this.#isDelivering = isDelivering;
      this.step({ type: 'tick' });
      this.#stepFetches({ type: 'tick' });
    }, tickMs).unref();
  }

  step(event: ExchangeEvent): void {
    if (this.#closing.signal.aborted) return;
    for (const effect of this.exchange.step(event, this.#options.now())) this.#carryOut(effect);
  }

  /** The durable heads of a namespace, or whether it is whole, changed. */
  moved(namespace: string): void {
    this.step({ type: 'heads', namespace, vector: this.#options.holdings.vectorOf(namespace) });
    this.#stepFetches({ type: 'moved', namespace });
  }

  /** A record of a peer cannot be applied here: who waits for it need not wait longer. */
  refused(event: Omit<Extract<FetchEvent, { type: 'refused' }>, 'type'>): void {
    this.#stepFetches({ type: 'refused', ...event });
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

  /** The message plane does not bring records of an origin: peers are asked for them. */
  leftOut(namespace: string, origin: string): void {
    this.step({ type: 'left-out', namespace, origin });
    this.hurry();
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
      case 'bootstrap':
        this.#stepFetches(effect);
        return;
      case 'whole':
        this.#options.onWhole(effect.namespace);
        return;
      case 'fold':
        this.#track(this.#fold(effect.namespace, effect.head));
        return;
      case 'gone-back':
        this.#options.onGoneBack(effect);
        return;
      case 'mismatch':
        this.#options.onMismatch(effect);
        return;
    }
  }

  async #ask(peer: string): Promise<void> {
    try {
      const body = Buffer.from(encodeReport(this.#reportTo(peer)));
      const answer = await this.#link(peer).request(reportName, body, this.#within(requestTimeoutMs));
      this.#reported(this.#readReport(answer), peer, true);
    } catch {
      // The link says itself why it is down; a peer that does not answer is asked again.
      this.step({ type: 'ask-failed', peer });
    }
  }

  #answerReport(body: Uint8Array, fingerprint: string): Uint8Array {
    const peer = this.#options.originOf(fingerprint);
    if (peer === undefined) return Buffer.from(encodeReport(this.#report()));
    this.#reported(this.#readReport(body), peer, false);
    const promised = this.exchange.promisedBy(peer);
    return Buffer.from(encodeReport({ ...this.#reportTo(peer), ...(promised.size > 0 && { promised }) }));
  }

  #readReport(bytes: Uint8Array): VectorReport {
    return decodeReport(Buffer.from(bytes).toString('utf8'), this.#options.engine.replica.sources);
  }

  /** A member may speak for itself only: its word decides what others purge. */
  #reported(report: VectorReport, peer: string, isAnswer: boolean): void {
    if (report.origin !== peer) throw new IpeError('forbidden', `\`${peer}\` reports for \`${report.origin}\``);
    for (const found of this.#options.holdings.newIn(report)) this.step({ type: 'heads', ...found });
    this.step({ type: 'reported', report, isAnswer });
  }

  #stepFetches(event: FetchEvent): void {
    if (this.#closing.signal.aborted) return;
    for (const effect of this.fetches.step(event, this.#options.now())) this.#fetch(effect);
  }

  #fetch(effect: FetchEffect): void {
    const { engine, onError } = this.#options;
    switch (effect.type) {
      case 'ask-log':
        this.#answered(effect.pull, this.#askLog(effect));
        return;
      case 'ask-snapshot':
        this.#answered(effect.pull, this.#askSnapshot(effect));
        return;
      case 'take':
        engine.takeRecords(effect.peer, effect.records);
        return;
      case 'join':
        this.#answered(effect.pull, this.#join(effect));
        return;
      case 'advance':
        this.#answered(effect.pull, this.#advance(effect));
        return;
      case 'pulled':
        if (effect.error !== undefined) onError(effect.error, 'reading what a peer sent');
        this.step({ type: 'pulled', pull: effect.pull, outcome: effect.outcome });
        return;
    }
  }

  /** Hands in what a fetch asked for, or that it failed. */
  #answered(pull: number, answer: Promise<FetchEvent>): void {
    this.#track(
      answer.then(
        (event) => this.#stepFetches(event),
        (error) => {
          if (!this.#closing.signal.aborted) this.#options.onError(error, 'fetching facts from a peer');
          this.#stepFetches({ type: 'failed', pull });
        },
      ),
    );
  }

  async #askLog({
    pull,
    peer,
    namespace,
    source,
    after,
    upTo,
  }: FetchEffect & { type: 'ask-log' }): Promise<FetchEvent> {
    const request = encodeLogRequest(namespace, source.id, after, upTo);
    const answer = await this.#link(peer).request(logRequestName, request, this.#within(transferTimeoutMs));
    return { type: 'slice', pull, slice: decodeSlice(answer) };
  }

  async #askSnapshot({
    pull,
    peer,
    namespace,
    after,
    heldAfter,
  }: FetchEffect & { type: 'ask-snapshot' }): Promise<FetchEvent> {
    const request = Buffer.from(JSON.stringify({ namespace, after, heldAfter }));
    const answer = await this.#link(peer).request(snapshotName, request, this.#within(transferTimeoutMs));
    return { type: 'page', pull, page: decodePage(answer, this.#options.engine.replica.sources) };
  }

  async #advance({ pull, namespace, heads, floor, ahead }: FetchEffect & { type: 'advance' }): Promise<FetchEvent> {
    const { engine, holdings, onAdvanced } = this.#options;
    await engine.advance(namespace, heads, floor, ahead);
    holdings.advanced(namespace, heads);
    onAdvanced(namespace);
    return { type: 'stored', pull };
  }

  /** Nothing comes in: what the entry stands for is here. */
  async #fold(namespace: string, head: Head): Promise<void> {
    const { engine, holdings, onAdvanced, onError } = this.#options;
    try {
      await engine.advance(namespace, [head], 0);
      holdings.advanced(namespace, [head]);
      onAdvanced(namespace);
    } catch (error) {
      onError(error, 'folding epochs that are over');
    }
  }

  async #join({ pull, namespace, entries, held, stretch }: FetchEffect & { type: 'join' }): Promise<FetchEvent> {
    const { engine } = this.#options;
    // With nothing to hold back it still waits until what came in before is in the store, where keys are looked for.
    if (held.length > 0 || stretch !== undefined) await engine.hold(namespace, held);
    if (stretch === undefined) await engine.joinStates(namespace, entries, { isPage: true });
    else {
      const absent = await this.#absentIn(namespace, stretch, new Set(entries.map(({ key }) => key)));
      await engine.joinStates(namespace, [...entries, ...absent], { covered: stretch.heads, isPage: true });
    }
    // What the states show beyond the vector is said with it.
    this.moved(namespace);
    return { type: 'stored', pull };
  }

  /** Keys here of which a giver that tells of all in a stretch holds nothing. */
  async #absentIn(namespace: string, { after, upTo }: Stretch, told: ReadonlySet<string>): Promise<StateEntry[]> {
    const absent: StateEntry[] = [];
    const range = { ...rangeBehind(namespace, after), order: 'store' as const };
    for await (const [bytes] of this.#options.engine.kv.entries('live', range)) {
      const key = Buffer.from(bytes).toString('utf8');
      if (upTo !== undefined && Buffer.compare(bytes, liveKey(upTo)) > 0) break;
      if (!told.has(key)) absent.push({ key, state: undefined });
    }
    return absent;
  }

  async #answerLog(body: Uint8Array): Promise<Uint8Array> {
    const { engine, holdings, ownLog } = this.#options;
    const { namespace, source: id, after, upTo } = readJson(body);
    const source = typeof id === 'string' ? engine.replica.sources.parse(id) : undefined;
    if (typeof namespace !== 'string' || source === undefined || !isCount(after) || !isCount(upTo)) {
      throw new IpeError('invalid_params', 'a request for records holds `namespace`, `source`, `after` and `upTo`');
    }
    // What is not durable here could be taken back by a crash, and then would be known elsewhere only.
    const bound = Math.min(upTo, headOf(holdings.headsOf(namespace), source));
    if (bound <= after) return encodeSlice({ records: [], upTo: after, isTrimmed: false });
    return encodeSlice(await readLog(ownLog, { namespace, source, after, upTo: bound }, sliceBytes));
  }

  async #answerSnapshot(body: Uint8Array): Promise<Uint8Array> {
    const { engine, holdings, quarantine } = this.#options;
    const { namespace, after, heldAfter } = readJson(body);
    if (typeof namespace !== 'string' || !isPlace(after) || !isPlace(heldAfter)) {
      throw new IpeError('invalid_params', 'a request for states holds `namespace`, `after` and `heldAfter`');
    }
    const heads = new Map(holdings.headsOf(namespace));
    const held = after === undefined ? await quarantine.heldAfter(namespace, heldAfter) : noneHeld;
    const page = new PageGatherer(heads, () => engine.replica.floorOf(namespace), sliceBytes, held.records);
    if (held.upTo !== undefined) return encodePage(page.pageOfHeld(held.upTo));
    const range = { ...rangeBehind(namespace, after), order: 'store' as const };
    for await (const [key, row] of engine.kv.entries('live', range)) {
      if (!page.take(Buffer.from(key).toString('utf8'), row)) break;
    }
    await engine.kv.sync();
    return encodePage(page.page());
  }

  #report(): VectorReport {
    const { holdings, now } = this.#options;
    const nowMs = now();
    const { known, leases } = this.exchange;
    return { ...holdings.report(), heardMs: leases.ages(nowMs), evicted: known.evicted, clockMs: nowMs };
  }

  #reportTo(peer: string): VectorReport {
    const started = this.exchange.startedFor(peer);
    return { ...this.#report(), ...(started.size > 0 && { started }) };
  }

  #link(peer: string): PeerLink {
    const fingerprint = this.#options.fingerprintOf(peer);
    const link = fingerprint === undefined ? undefined : this.#options.peers.link(fingerprint);
    if (!link) throw new IpeError('unavailable', `\`${peer}\` is not linked`);
    return link;
  }

  #within(timeoutMs: number): RequestLimits {
    return { signal: this.#closing.signal, timeoutMs };
  }

  #track(work: Promise<void>): void {
    this.#underWay.add(work);
    void work.finally(() => this.#underWay.delete(work));
  }
}

const noneHeld: HeldSlice = { records: [], upTo: undefined };

/** Rows of a namespace behind a key. `/` is the byte after `.`: the end of everything in it. */
function rangeBehind(namespace: string, after: string | undefined) {
  const from = after === undefined ? { gte: liveKey(`${namespace}.`) } : { gt: liveKey(after) };
  return { ...from, lt: liveKey(`${namespace}/`) };
}

const isPlace = (value: unknown): value is string | undefined => value === undefined || typeof value === 'string';

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
