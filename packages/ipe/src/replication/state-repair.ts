import { createHash, hkdfSync } from 'node:crypto';
import { IpeError, isIpeError } from '@ipe/core';
import { sipHash128 } from '@ipe/core/bytes';
import {
  answerDigest,
  type Cell,
  type ComparisonEffect,
  type ComparisonEvent,
  type ComparisonOptions,
  type ComparisonStatus,
  type Cuts,
  comparisonDefaults,
  cutsAt,
  DigestComparison,
  Digests,
  decodeRecord,
  type Heads,
  type LocalDigests,
  liveKey,
  Repairs,
  type SnapshotPage,
  type StateEntry,
  strategyText,
} from '@ipe/core/replica';
import type { PeerLink } from '../cluster/link.ts';
import type { Peers } from '../cluster/peers.ts';
import type { Damage, Engine, Scrubber } from '../data/index.ts';
import { decodeAnswer, decodeQuestion, encodeAnswer, encodeQuestion } from './digest-codec.ts';
import { decodePage, decodeSlice, encodeLogRequest, encodePage, logRequestName } from './transfer.ts';

export interface StateRepairOptions {
  readonly engine: Engine;
  readonly scrubber: Scrubber;
  /** The cluster's: all members must hash alike. */
  readonly secret: Uint8Array;
  readonly peers: Peers;
  /** Origin of the member that a certificate belongs to. */
  readonly originOf: (fingerprint: string) => string | undefined;
  /** The heads that peers may be told: durable ones. */
  readonly durableHeads: (namespace: string) => Heads;
  /** Whether a namespace is held whole here. */
  readonly isWhole: (namespace: string) => boolean;
  readonly now: () => number;
  readonly log: {
    error(details: object, message: string): void;
    warn(details: object, message: string): void;
  };
  readonly comparison?: Partial<ComparisonOptions>;
}

export interface StateRepairStatus {
  /** Namespaces whose digests are complete. */
  readonly counted: number;
  readonly digestBytes: number;
  readonly peers: readonly ComparisonStatus[];
  /** Bytes of answers and pages that comparing and repairing has fetched. */
  readonly fetchedBytes: number;
}

const digestName = 'facts.digest';
const leavesName = 'facts.leaves';
const statesName = 'facts.states';
const tickMs = 250;
const mendIntervalMs = 2_000;
const requestTimeoutMs = 30_000;
const pageBytes = 1024 * 1024;
/** How long one page may look for rows: digests know leaves, and the store knows keys. */
const pageMs = 250;
const keysMax = 1_000;

/**
 * Anti-entropy at the level of states (L2) over the peer links: keeps the digests, compares them with each peer, fetches
 * the facts that were lost here, and mends damaged rows and records. What it finds, the log cannot have lost: it means a
 * damaged disk or a bug, and is said as an error.
 */
export class StateRepair {
  readonly digests: Digests;
  readonly #options: StateRepairOptions;
  readonly #comparison: DigestComparison;
  readonly #keyId: string;
  readonly #closing = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  readonly #stops: (() => void)[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #repairs: Repairs;
  #mending: Promise<void> | undefined;
  #fetchedBytes = 0;

  constructor(options: StateRepairOptions) {
    this.#options = options;
    const { engine, scrubber, peers, secret } = options;
    const key = new Uint8Array(hkdfSync('sha256', secret, '', 'ipe digests of facts', 16));
    this.#keyId = createHash('sha256').update(key).digest('hex').slice(0, 8);
    // In one tick: from here on commits are counted, and the namespaces there are by then are walked.
    this.digests = new Digests(sipHash128(key), this.#names());
    this.#repairs = new Repairs(engine.replica, this.digests.items);
    this.#stops.push(
      engine.onApplied(({ commits, cells, joined }) => {
        this.digests.changed(cells);
        this.#repairs.changed(cells.keys(), commits);
        // After a failure of the store nobody knows which states came in: what is on disk counts.
        if (cells.size === 0) for (const namespace of joined) scrubber.recount(namespace);
      }),
    );
    this.#comparison = new DigestComparison(this.#local(), { ...comparisonDefaults, ...options.comparison });
    peers.handle(digestName, (body) => this.#answerDigest(body));
    peers.handle(leavesName, (body) => this.#answerLeaves(body));
    peers.handle(statesName, (body) => this.#answerStates(body));
    const up = (link: PeerLink) => this.#linked(link, 'linked');
    const down = (link: PeerLink) => this.#linked(link, 'unlinked');
    peers.on('up', up);
    peers.on('down', down);
    this.#stops.push(() => {
      peers.off('up', up);
      peers.off('down', down);
    });
    this.relink();
    const met = ({ namespace, key }: Damage) => {
      if (key !== undefined) this.#repairs.met(namespace, key);
      this.#mend();
    };
    this.#stops.push(
      engine.damage.onMet(met),
      scrubber.onRecord(() => this.#mend()),
      // What rows that are gone held is looked for at once, however long comparing had brought nothing before.
      scrubber.onLoss(() => this.step({ type: 'hurry' })),
    );
    engine.damage.list().forEach(met);
    this.#timers.push(
      setInterval(() => {
        this.digests.dropBelow(this.#cuts());
        this.step({ type: 'tick' });
      }, tickMs).unref(),
      setInterval(() => this.#mend(), mendIntervalMs).unref(),
    );
    scrubber.count(this.digests);
  }

  step(event: ComparisonEvent): void {
    if (this.#closing.signal.aborted) return;
    for (const effect of this.#comparison.step(event, this.#options.now())) this.#carryOut(effect);
  }

  /** Looks at the links again: who is a member may have changed. */
  relink(): void {
    for (const link of this.#options.peers.links()) this.#linked(link, 'linked');
  }

  status(): StateRepairStatus {
    return {
      counted: this.#names().filter((name) => this.digests.isCounted(name)).length,
      digestBytes: this.digests.sizeBytes,
      peers: this.#comparison.status(),
      fetchedBytes: this.#fetchedBytes,
    };
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    for (const stop of this.#stops) stop();
    this.#closing.abort();
    await Promise.allSettled([...this.#underWay, this.#mending]);
  }

  #local(): LocalDigests {
    const { engine, isWhole } = this.#options;
    return {
      digests: this.digests,
      names: () => this.#names(),
      cuts: () => this.#cuts(),
      headsOf: (namespace) => this.#repairs.toldOf(namespace),
      strategyOf: (namespace) => strategyText(engine.replica.strategyOf(namespace)),
      isWhole,
    };
  }

  #names(): string[] {
    return this.#options.engine.namespaces().map(({ name }) => name);
  }

  #cuts(): Cuts {
    const { engine } = this.#options;
    return cutsAt(engine.readMs(), engine.tombstoneGraceMs);
  }

  #linked(link: PeerLink, type: 'linked' | 'unlinked'): void {
    const peer = this.#options.originOf(link.fingerprint);
    if (peer !== undefined) this.step({ type, peer });
  }

  #carryOut(effect: ComparisonEffect): void {
    if (effect.type === 'recount') {
      this.#options.log.warn({ namespace: effect.namespace }, 'digests differ and facts do not: they are counted anew');
      this.#options.scrubber.recount(effect.namespace);
      return;
    }
    const work = effect.type === 'ask' ? this.#ask(effect) : this.#fetch(effect);
    const ended = work.then(
      (event) => this.step(event),
      (error) => {
        if (!this.#closing.signal.aborted && effect.type === 'fetch')
          this.#options.log.warn({ err: error, peer: effect.peer }, 'lost facts could not be fetched');
        this.step({ type: 'failed', id: effect.id });
      },
    );
    this.#underWay.add(ended);
    void ended.finally(() => this.#underWay.delete(ended));
  }

  async #ask({ id, peer, question }: Extract<ComparisonEffect, { type: 'ask' }>): Promise<ComparisonEvent> {
    const body = await this.#request(peer, digestName, encodeQuestion(question, this.#keyId));
    return { type: 'answered', id, answer: decodeAnswer(body, this.#options.engine.replica.sources) };
  }

  #answerDigest(body: Uint8Array): Uint8Array {
    const { question, keyId } = decodeQuestion(body);
    const none = question.kind === 'roots' && ({ kind: 'roots', cuts: question.cuts, namespaces: new Map() } as const);
    const answer = keyId === this.#keyId ? answerDigest(this.#local(), question) : none || undefined;
    if (answer === undefined) throw new IpeError('not_found', 'that digest cannot be compared here');
    return encodeAnswer(answer);
  }

  /** Joins in what a peer has in these leaves and was lost here. */
  async #fetch(effect: Extract<ComparisonEffect, { type: 'fetch' }>): Promise<ComparisonEvent> {
    const { engine, log } = this.#options;
    const { id, peer, namespace } = effect;
    let repaired = 0;
    for (let after: string | undefined, isLast = false; !isLast; ) {
      const { page, ours, lost } = await this.#askLost(effect, after);
      repaired += await this.#rewriteVanished(namespace, ours);
      if (lost.length > 0) {
        await engine.joinStates(namespace, lost);
        repaired += lost.length;
        const keys = lost.slice(0, 10).map(({ key }) => key);
        log.error({ peer, namespace, keys, count: lost.length }, 'facts were lost here and came back from a peer');
      }
      ({ isLast } = page);
      after = page.next;
    }
    return { type: 'fetched', id, repaired };
  }

  /** A page of a peer's states in these leaves, and what of it was lost here. */
  async #askLost(
    { peer, namespace, cuts, leaves }: Extract<ComparisonEffect, { type: 'fetch' }>,
    after: string | undefined,
  ): Promise<{ page: SnapshotPage; ours: ReadonlyMap<string, Cell>; lost: readonly StateEntry[] }> {
    const { sources } = this.#options.engine.replica;
    const question = this.#repairs.open();
    try {
      const page = decodePage(await this.#request(peer, leavesName, jsonOf({ namespace, leaves, after })), sources);
      const theirs = this.#repairs.statesOf(namespace, page);
      // Before the cells are read: what these heads cover, the cells must tell of.
      const heads = this.#repairs.toldOf(namespace);
      const ours = await this.#cells([...theirs.keys()]);
      return { page, ours, lost: this.#repairs.lost(namespace, theirs, ours, { heads, cuts, question }) };
    } finally {
      this.#repairs.close(question);
    }
  }

  /** Facts that are in memory alone, because their rows are gone, are written again. @returns how many */
  async #rewriteVanished(namespace: string, cells: ReadonlyMap<string, Cell>): Promise<number> {
    const { engine, scrubber } = this.#options;
    const { replica, kv } = engine;
    const inMemory = [...cells].filter(([key, cell]) => cell.state !== undefined && replica.peek(key) === cell);
    const rowKeys = inMemory.map(([key]) => liveKey(key));
    const rows = await kv.getMany('live', rowKeys).catch((error) => {
      // A damaged row is mended by name.
      if (!isCorrupt(error)) throw error;
      return undefined;
    });
    if (rows === undefined) return 0;
    const uncommitted = replica.uncommitted();
    const entries = inMemory.flatMap(([key, cell], i) =>
      // One that changed meanwhile may have been deleted and purged.
      rows[i] === undefined && replica.peek(key) === cell && !uncommitted.has(key) ? [{ key, state: cell.state }] : [],
    );
    if (entries.length === 0) return 0;
    await engine.joinStates(namespace, entries, { rewrite: true });
    scrubber.factsMended(
      entries.map(({ key }) => key),
      'memory',
    );
    // They were counted as gone.
    scrubber.recount(namespace);
    return entries.length;
  }

  /** Committed cells. Those that are damaged here are left out: they are mended by name. */
  async #cells(keys: readonly string[]): Promise<ReadonlyMap<string, Cell>> {
    const { engine } = this.#options;
    try {
      return await engine.getMany(keys);
    } catch (error) {
      if (!isCorrupt(error)) throw error;
    }
    const cells = new Map<string, Cell>();
    for (const key of keys) {
      try {
        cells.set(key, await engine.get(key));
      } catch (error) {
        if (!isCorrupt(error)) throw error;
      }
    }
    return cells;
  }

  /** Rows of `live` whose keys are in the leaves asked for. */
  async #answerLeaves(body: Uint8Array): Promise<Uint8Array> {
    const { namespace, leaves, after } = readJson(body);
    const isLeaf = (leaf: unknown) => Number.isInteger(leaf) && (leaf as number) >= 0 && (leaf as number) < 0x10000;
    const isAsked = Array.isArray(leaves) && leaves.every(isLeaf);
    if (typeof namespace !== 'string' || !isAsked || (after !== undefined && typeof after !== 'string'))
      throw new IpeError('invalid_params', 'a request for leaves holds `namespace`, `leaves` and `after`');
    const wanted = new Uint8Array(0x10000);
    for (const leaf of leaves) wanted[leaf] = 1;
    // Read before the rows: what the heads say is in them.
    const head = this.#head(namespace);
    const { kv } = this.#options.engine;
    const rows: { key: string; row: Uint8Array }[] = [];
    const endMs = performance.now() + pageMs;
    let bytes = 0;
    let next: string | undefined;
    const from = after === undefined ? { gte: liveKey(`${namespace}.`) } : { gt: liveKey(after) };
    const range = { ...from, lt: liveKey(`${namespace}/`), order: 'store' as const, onDamaged: () => {} };
    let isLast = true;
    for await (const [rowKey, row] of kv.entries('live', range)) {
      if (next !== undefined && (bytes >= pageBytes || performance.now() >= endMs)) {
        isLast = false;
        break;
      }
      const key = Buffer.from(rowKey.buffer, rowKey.byteOffset, rowKey.byteLength).toString('utf8');
      next = key;
      if (wanted[this.digests.items.leafOf(key)] === 0) continue;
      rows.push({ key, row });
      bytes += key.length + row.length;
    }
    await kv.sync();
    return encodePage({ ...head, rows, isLast, ...(!isLast && next !== undefined && { next }) });
  }

  /** Rows of `live` by key. */
  async #answerStates(body: Uint8Array): Promise<Uint8Array> {
    const { namespace, keys } = readJson(body);
    const isKey = (key: unknown) => typeof key === 'string' && key.startsWith(`${namespace}.`);
    if (typeof namespace !== 'string' || !Array.isArray(keys) || keys.length > keysMax || !keys.every(isKey))
      throw new IpeError('invalid_params', 'a request for states holds `namespace` and `keys`');
    const head = this.#head(namespace);
    const { engine } = this.#options;
    const { kv } = engine;
    const rows = await kv.getMany(
      'live',
      keys.map((key) => liveKey(key as string)),
    );
    await kv.sync();
    const held = rows.flatMap((row, i) => (row === undefined ? [] : [{ key: keys[i] as string, row }]));
    // Read behind the rows: what is purged meanwhile is not in them.
    const floor = engine.replica.floorOf(namespace);
    return encodePage({ ...head, floor, rows: held, isLast: true });
  }

  #head(namespace: string): Omit<SnapshotPage, 'rows' | 'isLast' | 'next'> {
    const { engine, durableHeads } = this.#options;
    const told = this.#repairs.toldOf(namespace, durableHeads(namespace));
    const heads = [...told].map(([source, seq]) => ({ source, seq }));
    return { heads, floor: engine.replica.floorOf(namespace), held: [], heldUpTo: undefined };
  }

  #mend(): void {
    const { engine, scrubber } = this.#options;
    const isSound = engine.damage.count === 0 && scrubber.records.size === 0;
    if (this.#mending !== undefined || isSound || this.#closing.signal.aborted) return;
    this.#mending = this.#mendAll().finally(() => {
      this.#mending = undefined;
    });
  }

  /** Asks each peer in turn for what is damaged here. */
  async #mendAll(): Promise<void> {
    const { engine, peers, originOf, scrubber, log } = this.#options;
    for (const link of peers.links()) {
      const peer = originOf(link.fingerprint);
      if (peer === undefined) continue;
      try {
        for (const namespace of new Set(engine.damage.list().map((damage) => damage.namespace)))
          await this.#mendFacts(peer, namespace);
        for (const name of [...scrubber.records.values()]) await this.#mendRecord(peer, name);
      } catch (error) {
        if (!this.#closing.signal.aborted) log.warn({ err: error, peer }, 'damage could not be mended from a peer');
      }
    }
  }

  async #mendFacts(peer: string, namespace: string): Promise<void> {
    const { engine, scrubber } = this.#options;
    const keys = engine.damage
      .list()
      .flatMap((damage) => (damage.namespace === namespace && damage.key !== undefined ? [damage.key] : []))
      .slice(0, keysMax);
    if (keys.length === 0) return;
    const body = await this.#request(peer, statesName, jsonOf({ namespace, keys }));
    const page = decodePage(body, engine.replica.sources);
    // What was mended meanwhile may have been deleted since, and purged.
    const damaged = new Set(engine.damage.list().map(({ key }) => key));
    const asked = keys.filter((key) => damaged.has(key));
    const entries = this.#repairs.mending(namespace, asked, page);
    if (entries.length === 0) return;
    await engine.joinStates(namespace, entries, { rewrite: true, floor: page.floor, mending: page.heads });
    this.#repairs.mended(entries);
    const mendable = entries.map(({ key }) => key);
    scrubber.factsMended(mendable, peer);
    // A row that was counted while it was sound, and damaged later, would be counted twice.
    if (mendable.some((key) => !scrubber.isUncounted(namespace, key))) scrubber.recount(namespace);
  }

  async #mendRecord(peer: string, name: { namespace: string; sourceId: string; seq: number }): Promise<void> {
    const { engine, scrubber } = this.#options;
    const { namespace, sourceId, seq } = name;
    const request = encodeLogRequest(namespace, sourceId, seq - 1, seq);
    const slice = decodeSlice(await this.#request(peer, logRequestName, request));
    const bytes = slice.records[0];
    if (bytes === undefined) return;
    const record = decodeRecord(bytes, engine.replica.sources);
    if (record.namespace !== namespace || record.source.id !== sourceId || record.seq !== seq) return;
    scrubber.recordMended(name, peer, await engine.mendRecord(record));
  }

  async #request(peer: string, name: string, body: Uint8Array): Promise<Uint8Array> {
    const { peers, originOf } = this.#options;
    const link = peers.links().find(({ fingerprint }) => originOf(fingerprint) === peer);
    if (link === undefined) throw new IpeError('unavailable', `\`${peer}\` is not linked`);
    const answer = await link.request(name, body, { signal: this.#closing.signal, timeoutMs: requestTimeoutMs });
    this.#fetchedBytes += answer.length;
    return answer;
  }
}

const isCorrupt = (error: unknown) => isIpeError(error) && error.reason === 'corrupt';

const jsonOf = (value: object) => Buffer.from(JSON.stringify(value));

function readJson(body: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>;
  } catch {
    // Falls through to the error that says so.
  }
  throw new IpeError('parse_error', 'the request is not a JSON object');
}
