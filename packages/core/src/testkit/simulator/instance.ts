import {
  Cell,
  type Commit,
  decodeCell,
  decodeCommit,
  decodeRecord,
  decodeReport,
  Exchange,
  type ExchangeEffect,
  type ExchangeEvent,
  encodeRecord,
  encodeReport,
  expiryKey,
  type LogRecord,
  liveKey,
  logKey,
  Replica,
  type ReplicaEffect,
  type ReplicaEvent,
  readMetadata,
  type Source,
  Sources,
  type Strategy,
  strategyText,
  type WriteOutcome,
  type WriteRequest,
} from '../../replica/index.ts';
import { Disk } from './disk.ts';
import type { Mutant } from './mutants.ts';
import type { Random } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** What instances send each other. */
export type Message =
  | { readonly type: 'ask'; readonly report: string }
  | { readonly type: 'report'; readonly report: string }
  | { readonly type: 'batch'; readonly records: readonly Uint8Array[] }
  | {
      readonly type: 'pull';
      readonly pull: number;
      readonly namespace: string;
      readonly source: string;
      readonly after: number;
      readonly upTo: number;
    }
  | {
      readonly type: 'records';
      readonly pull: number;
      readonly records: readonly Uint8Array[];
      readonly upTo: number;
      readonly isTrimmed: boolean;
    }
  | { readonly type: 'snapshot'; readonly pull: number; readonly namespace: string }
  | {
      readonly type: 'states';
      readonly pull: number;
      readonly namespace: string;
      readonly rows: readonly (readonly [key: string, row: Uint8Array])[];
      readonly heads: Readonly<Record<string, number>>;
      readonly floor: number;
    };

export interface InstanceOptions {
  readonly origin: string;
  readonly peers: readonly string[];
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly strategyOf: (namespace: string) => Strategy;
  readonly send: (to: string, message: Message) => void;
  /** Every record that any instance made durable first, for the oracle. */
  readonly onDurable: (commit: Commit) => void;
  readonly onProblem: (problem: string) => void;
  readonly mutant: Mutant | undefined;
}

const answerTimeoutMs = 3_000;
const logRowsMax = 150;

/**
 * One simulated instance: the replica and the exchange that nodes run, with a disk, a clock and links that the
 * simulation owns. What `ipe/replication` does with sockets and promises is done here with scheduled calls.
 */
export class Instance {
  readonly origin: string;
  readonly disk = new Disk();
  readonly #options: InstanceOptions;
  /** How far this instance's wall clock is off. */
  clockOffsetMs = 0;
  isUp = false;
  isWhole: boolean;
  replica!: Replica;
  exchange!: Exchange;
  /** Which start this is: calls of an earlier one do nothing. */
  life = 0;
  #heads = new Map<string, Map<Source, number>>();
  #waiting: Commit[] = [];
  #replies = new Map<number, (outcome: WriteOutcome) => void>();
  #pulls = new Map<
    number,
    { readonly namespace: string; readonly source: Source | undefined; upTo: number; isArrived: boolean }
  >();
  #nextId = 1;
  #commitAtMs = 0;

  constructor(options: InstanceOptions, isWhole: boolean) {
    this.#options = options;
    this.origin = options.origin;
    this.isWhole = isWhole;
  }

  get wallMs(): number {
    return 1_700_000_000_000 + this.#options.scheduler.nowMs + this.clockOffsetMs;
  }

  start(): void {
    const { random, strategyOf, peers, mutant } = this.#options;
    this.life++;
    this.isUp = true;
    this.#replies = new Map();
    this.#pulls = new Map();
    this.#waiting = [];
    this.#commitAtMs = 0;
    const sources = new Sources();
    let metadata = this.disk.rows('metadata');
    // `v` begins the rows of the vector.
    if (mutant === 'vector-lost-at-restart') metadata = metadata.filter(([key]) => key[0] !== 0x76);
    this.replica = new Replica(
      {
        origin: this.origin,
        strategyOf,
        historyOf: () => 1,
        batchWritesMax: 50,
        flushIntervalMs: 5,
        tombstoneGraceMs: 2_000,
        cacheBytesMax: 20_000,
        queueBytesMax: 1 << 20,
        isStable: (namespace, dot) => mutant === 'tombstones-by-wall-clock' || this.exchange.isStable(namespace, dot),
      },
      sources,
      readMetadata(metadata, sources),
      random.next,
    );
    this.exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
    this.#heads = new Map(this.replica.report().map(({ name, heads }) => [name, new Map(heads)]));
    this.#ask({ type: 'members', origins: peers });
    for (const namespace of this.#heads.keys()) this.#moved(namespace);
    this.#repeat(1_000, () => this.step({ type: 'tick' }));
    this.#repeat(200, () => this.#ask({ type: 'tick' }));
    this.#repeat(3_000, () => this.#housekeep());
  }

  /** kill -9 with the power: what was not synced is gone from some batch on. */
  crash(): void {
    this.isUp = false;
    this.life++;
    this.disk.crash(this.#options.random.int(0, this.disk.unsyncedCount));
  }

  linked(peer: string, isUp: boolean): void {
    if (this.isUp) this.#ask({ type: isUp ? 'linked' : 'unlinked', peer });
  }

  submit(request: WriteRequest, reply: (outcome: WriteOutcome) => void): void {
    const id = this.#nextId++;
    this.#replies.set(id, reply);
    this.step({ type: 'submit', id, request });
  }

  /** What a reader sees: undefined where the namespace may not be read. */
  read(key: string): Cell | undefined {
    if (!this.isWhole && this.#options.mutant !== 'loading-reads-empty') return undefined;
    const row = this.disk.get('live', liveKey(key));
    const strategy = this.replica.strategyOf(key.slice(0, key.indexOf('.')));
    return row === undefined ? new Cell(undefined, 0, strategy) : decodeCell(row, this.replica.sources, strategy);
  }

  headOf(namespace: string, sourceId: string): number {
    const source = this.replica.sources.parse(sourceId);
    return source === undefined ? 0 : (this.#heads.get(namespace)?.get(source) ?? 0);
  }

  step(event: ReplicaEvent): void {
    const { random, mutant } = this.#options;
    if (mutant === 'last-arrival-wins' && event.type === 'records') this.#overwrite(event.records);
    for (const effect of this.replica.step(event, this.wallMs, random.next)) this.#carryOut(effect);
  }

  receive(from: string, message: Message): void {
    if (!this.isUp) return;
    const { sources } = this.replica;
    switch (message.type) {
      case 'ask':
        this.#reported(message.report, false);
        this.#options.send(from, { type: 'report', report: this.#report() });
        return;
      case 'report':
        this.#reported(message.report, true);
        return;
      case 'batch':
        this.#take(from, message.records);
        return;
      case 'pull': {
        const source = sources.parse(message.source)!;
        const bound = Math.min(message.upTo, this.#heads.get(message.namespace)?.get(source) ?? 0);
        const records: Uint8Array[] = [];
        for (let seq = message.after + 1; seq <= bound && records.length < 20; seq++) {
          const row = this.disk.get('log', logKey(message.namespace, source, seq));
          if (row === undefined) break;
          records.push(row);
        }
        const isTrimmed = records.length === 0 && bound > message.after;
        const { pull } = message;
        this.#options.send(from, { type: 'records', pull, records, upTo: message.after + records.length, isTrimmed });
        return;
      }
      case 'records':
        this.#pulled(from, message);
        return;
      case 'snapshot': {
        const { namespace, pull } = message;
        const heads: Record<string, number> = {};
        for (const [source, seq] of this.#heads.get(namespace) ?? []) heads[source.id] = seq;
        const rows = this.disk
          .rows('live', liveKey(`${namespace}.`))
          .map(([key, row]) => [String.fromCharCode(...key), row] as const);
        this.#options.send(from, {
          type: 'states',
          pull,
          namespace,
          rows,
          heads,
          floor: this.replica.floorOf(namespace),
        });
        return;
      }
      case 'states':
        this.#bootstrap(message);
    }
  }

  /** The mutant's way: what arrives later and says it is newer is put in the place of what is there. */
  #overwrite(records: readonly LogRecord[]): void {
    for (const { namespace, operations } of records) {
      if (namespace !== 'plain') continue;
      for (const { key } of operations) {
        const row = this.disk.get('live', liveKey(key));
        if (row !== undefined && this.#options.random.chance(0.5))
          this.disk.write([{ type: 'delete', family: 'live', key: liveKey(key) }]);
      }
    }
  }

  #take(from: string, encoded: readonly Uint8Array[]): void {
    const isClamped = this.#options.mutant === 'future-clamped';
    const records = encoded.map((bytes) => {
      const record = decodeRecord(bytes, this.replica.sources);
      return isClamped ? { ...record, ms: Math.min(record.ms, this.wallMs) } : record;
    });
    if (this.#options.mutant === 'vector-before-apply') {
      for (const { namespace, source, seq } of records) {
        const heads = this.#heads.get(namespace) ?? new Map<Source, number>();
        this.#heads.set(namespace, heads);
        heads.set(source, Math.max(seq, heads.get(source) ?? 0));
        this.#moved(namespace);
      }
    }
    this.step({ type: 'records', from, records });
  }

  #pulled(from: string, message: Extract<Message, { type: 'records' }>): void {
    const pull = this.#pulls.get(message.pull);
    if (pull === undefined || pull.isArrived) return;
    if (message.isTrimmed || message.records.length === 0) {
      this.#endPull(message.pull, message.isTrimmed ? 'trimmed' : 'done');
      return;
    }
    pull.isArrived = true;
    pull.upTo = message.upTo;
    this.#take(from, message.records);
    this.#settlePulls();
  }

  #bootstrap({ pull: id, namespace, rows, heads, floor }: Extract<Message, { type: 'states' }>): void {
    const pull = this.#pulls.get(id);
    if (pull === undefined || pull.isArrived) return;
    pull.isArrived = true;
    const { sources } = this.replica;
    const strategy = this.replica.strategyOf(namespace);
    const positions = Object.entries(heads).map(([source, seq]) => ({ source: sources.parse(source)!, seq }));
    if (this.#options.mutant === 'replace-instead-of-join') {
      for (const [key] of this.disk.rows('live', liveKey(`${namespace}.`)))
        this.disk.write([{ type: 'delete', family: 'live', key }]);
      for (const [key, value] of rows) this.disk.write([{ type: 'put', family: 'live', key: liveKey(key), value }]);
      this.disk.sync();
      this.crash();
      this.start();
      return;
    }
    const entries = rows.map(([key, row]) => ({ key, state: decodeCell(row, sources, strategy).state! }));
    this.#request(
      (statesId) => ({ type: 'states', id: statesId, namespace, entries }),
      (joined) => {
        if (!joined.ok) return this.#endPull(id, 'failed');
        this.#request(
          (advanceId) => ({ type: 'advance', id: advanceId, namespace, heads: positions, floor }),
          (advanced) => {
            if (!advanced.ok) return this.#endPull(id, 'failed');
            const own = this.#heads.get(namespace) ?? new Map<Source, number>();
            this.#heads.set(namespace, own);
            for (const { source, seq } of positions) own.set(source, Math.max(seq, own.get(source) ?? 0));
            this.#moved(namespace);
            this.#endPull(id, 'done');
          },
        );
      },
    );
  }

  #request(event: (id: number) => ReplicaEvent, reply: (outcome: WriteOutcome) => void): void {
    const id = this.#nextId++;
    this.#replies.set(id, reply);
    this.step(event(id));
  }

  #endPull(id: number, outcome: 'done' | 'trimmed' | 'failed'): void {
    if (this.#pulls.delete(id)) this.#ask({ type: 'pulled', pull: id, outcome });
  }

  /** Ends pulls whose records are durable by now. */
  #settlePulls(): void {
    for (const [id, { namespace, source, upTo, isArrived }] of [...this.#pulls]) {
      if (isArrived && source !== undefined && (this.#heads.get(namespace)?.get(source) ?? 0) >= upTo)
        this.#endPull(id, 'done');
    }
  }

  #carryOut(effect: ReplicaEffect): void {
    const { random, mutant, onProblem } = this.#options;
    switch (effect.type) {
      case 'load':
        this.#later(random.int(0, 3), () =>
          this.step({
            type: 'loaded',
            load: effect.load,
            rows: effect.keys.map((key) => this.disk.get('live', liveKey(key))),
          }),
        );
        return;
      case 'commit':
        this.#commit(effect);
        return;
      case 'reply': {
        const reply = this.#replies.get(effect.id);
        this.#replies.delete(effect.id);
        reply?.(effect.outcome);
        return;
      }
      case 'applied':
        this.#waiting.push(...effect.commits);
        return;
      case 'durable':
        this.#durable(effect.commit);
        return;
      case 'gap':
        if (mutant === 'gap-passed-over') {
          const heads = [{ source: effect.source, seq: effect.before - 1 }];
          const { namespace } = effect;
          this.#request(
            (id) => ({ type: 'advance', id, namespace, heads, floor: 0 }),
            () => {
              const own = this.#heads.get(namespace) ?? new Map<Source, number>();
              this.#heads.set(namespace, own);
              own.set(effect.source, Math.max(effect.before - 1, own.get(effect.source) ?? 0));
              this.#moved(namespace);
            },
          );
        } else this.#ask({ type: 'hurry' });
        return;
      case 'refused':
        onProblem(`${this.origin} refused a record: ${effect.failure.message}`);
        return;
      case 'alarm':
        this.#later(effect.inMs, () => this.step({ type: 'tick' }));
        return;
      case 'fetched':
        return;
    }
  }

  #commit({ batch, operations, lastCommit }: Extract<ReplicaEffect, { type: 'commit' }>): void {
    const { random, scheduler, mutant } = this.#options;
    // Batches take effect in their order, whatever each takes.
    this.#commitAtMs = Math.max(this.#commitAtMs, scheduler.nowMs + random.int(1, 15));
    const isEager = mutant === 'acknowledged-before-durable';
    if (isEager) {
      this.#later(0, () => {
        this.step({ type: 'committed', batch });
        this.step({ type: 'durable', commit: lastCommit });
      });
    }
    this.#later(this.#commitAtMs - scheduler.nowMs + (isEager ? 200 : 0), () => {
      if (!this.disk.write(operations)) {
        const failure = { reason: 'unavailable', message: 'the disk is full', state: 'unchanged' } as const;
        this.step({ type: 'failed', batch, failure });
        this.#later(500, () => this.step({ type: 'reopen' }));
        return;
      }
      this.disk.sync();
      if (isEager) return;
      this.step({ type: 'committed', batch });
      this.step({ type: 'durable', commit: lastCommit });
    });
  }

  #durable(commit: number): void {
    const { peers, send, onDurable } = this.#options;
    const own: Uint8Array[] = [];
    const touched = new Set<string>();
    while (this.#waiting.length > 0 && this.#waiting[0]!.number <= commit) {
      const done = this.#waiting.shift()!;
      const { namespace, source, seq } = done.record;
      const heads = this.#heads.get(namespace) ?? new Map<Source, number>();
      this.#heads.set(namespace, heads);
      heads.set(source, Math.max(seq, heads.get(source) ?? 0));
      touched.add(namespace);
      if (source.origin !== this.origin) continue;
      onDurable(done);
      own.push(encodeRecord(done.record));
    }
    for (const namespace of touched) this.#moved(namespace);
    if (own.length > 0) for (const peer of peers) send(peer, { type: 'batch', records: own });
    this.#settlePulls();
  }

  #moved(namespace: string): void {
    this.#ask({ type: 'heads', namespace, vector: this.#vector(namespace) });
  }

  #vector(namespace: string) {
    const strategy = strategyText(this.replica.strategyOf(namespace));
    return { strategy, isWhole: this.isWhole, heads: new Map(this.#heads.get(namespace)) };
  }

  #report(): string {
    const namespaces = new Map([...this.#heads.keys()].map((name) => [name, this.#vector(name)]));
    return encodeReport({ origin: this.origin, interest: 'all', isSettled: this.isWhole, namespaces });
  }

  #reported(text: string, isAnswer: boolean): void {
    const report = decodeReport(text, this.replica.sources);
    for (const [namespace, { strategy }] of report.namespaces) {
      if ((this.#heads.get(namespace)?.size ?? 0) > 0) continue;
      this.#ask({ type: 'heads', namespace, vector: { strategy, isWhole: false, heads: new Map() } });
    }
    this.#ask({ type: 'reported', report, isAnswer });
    if (!this.isWhole && this.exchange.hasHeardAll((name) => this.exchange.isWholeHere(name))) {
      this.isWhole = true;
      for (const name of this.#heads.keys()) this.#moved(name);
    }
  }

  #ask(event: ExchangeEvent): void {
    if (this.#options.mutant === 'no-anti-entropy' && event.type !== 'members') return;
    for (const effect of this.exchange.step(event, this.#options.scheduler.nowMs)) this.#exchanged(effect);
  }

  #exchanged(effect: ExchangeEffect): void {
    const { send } = this.#options;
    switch (effect.type) {
      case 'ask':
        send(effect.peer, { type: 'ask', report: this.#report() });
        // An answer that comes first makes this say nothing new; one that is lost is asked for again.
        this.#later(answerTimeoutMs, () => this.#ask({ type: 'ask-failed', peer: effect.peer }));
        return;
      case 'pull': {
        const { pull, peer, namespace, source, after, upTo } = effect;
        this.#pulls.set(pull, { namespace, source, upTo, isArrived: false });
        send(peer, { type: 'pull', pull, namespace, source: source.id, after, upTo });
        this.#later(answerTimeoutMs, () => this.#endPull(pull, 'failed'));
        return;
      }
      case 'bootstrap': {
        const { pull, peer, namespace } = effect;
        this.#pulls.set(pull, { namespace, source: undefined, upTo: 0, isArrived: false });
        send(peer, { type: 'snapshot', pull, namespace });
        this.#later(answerTimeoutMs, () => this.#endPull(pull, 'failed'));
        return;
      }
      case 'whole':
      case 'mismatch':
        return;
    }
  }

  #housekeep(): void {
    const due = expiryKey(this.replica.readMs(this.wallMs) + 1, '');
    const keys = this.disk
      .rows('expiry')
      .filter(([key]) => isBelow(key, due))
      .map(([key]) => String.fromCharCode(...key.subarray(6)));
    if (keys.length > 0) this.step({ type: 'purge', keys });
    const commits = this.disk.rows('commits');
    const excess = commits.length - logRowsMax;
    if (excess <= 0) return;
    // Commit rows go with the log rows that they name, oldest first.
    const dropped = this.replica.trimmedCommit + excess;
    const rows = commits.slice(0, excess).map(([key]) => ({ type: 'delete', family: 'commits', key }) as const);
    const log = this.#logRowsOf(commits.slice(0, excess).map(([, value]) => value));
    if (dropped <= this.replica.durableCommit)
      this.step({ type: 'trim', commit: dropped, bytes: 0, rows: [...rows, ...log] });
  }

  #logRowsOf(commitRows: readonly Uint8Array[]) {
    return commitRows.map((row) => {
      const { namespace, source, seq } = decodeCommit(row, this.replica.sources);
      return { type: 'delete', family: 'log', key: logKey(namespace, source, seq) } as const;
    });
  }

  /** A call in this life: a crash takes it along. */
  #later(delayMs: number, run: () => void): void {
    const life = this.life;
    this.#options.scheduler.after(delayMs, () => {
      if (this.life === life && this.isUp) run();
    });
  }

  #repeat(intervalMs: number, run: () => void): void {
    this.#later(intervalMs, () => {
      run();
      this.#repeat(intervalMs, run);
    });
  }
}

function isBelow(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i]! < b[i]!;
  return a.length < b.length;
}
