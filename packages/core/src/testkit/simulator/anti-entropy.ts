import {
  type Exchange,
  type ExchangeEffect,
  type ExchangeEvent,
  encodeReport,
  type FetchEffect,
  type FetchEvent,
  type Fetches,
  type Head,
  type Holdings,
  type LogRecord,
  type LogSlice,
  type ReplicaEvent,
} from '../../replica/index.ts';
import type { Question } from './questions.ts';
import type { Reports } from './reports.ts';
import type { StoreDriver } from './store-driver.ts';
import type { SentPage, Transfer } from './transfer.ts';

/** What anti-entropy works on, and whom it tells. All of it is of one life of an instance. */
export interface AntiEntropyParts {
  readonly exchange: Exchange;
  readonly fetches: Fetches;
  readonly holdings: Holdings;
  readonly reports: Reports;
  readonly store: StoreDriver;
  readonly transfer: Transfer;
  /** Whether members have leases: reports then say who was heard. */
  readonly hasLeases: boolean;
  readonly wallMs: () => number;
  readonly ask: (peer: string, question: Question, done: (answer: unknown) => void) => void;
  /** Takes in records that a peer sent. */
  readonly take: (from: string, records: readonly LogRecord[]) => void;
  /** States of a namespace are about to come in. */
  readonly onJoining: (namespace: string) => void;
  readonly onFolding: (namespace: string, head: Head) => void;
  readonly onWentBack: () => void;
  readonly onProblem: (problem: string) => void;
  /** What a peer sent could not be read. */
  readonly onUnreadable: (why: unknown) => void;
  readonly isDeaf: boolean;
}

/**
 * Runs the exchange and the fetches of a simulated instance, as `ipe` does with promises: what they ask for is asked of
 * peers and of the store, and what comes back is handed in.
 */
export class AntiEntropy {
  readonly #parts: AntiEntropyParts;

  constructor(parts: AntiEntropyParts) {
    this.#parts = parts;
  }

  exchange(event: ExchangeEvent): void {
    const { exchange, isDeaf, wallMs } = this.#parts;
    if (isDeaf && event.type !== 'members') return;
    for (const effect of exchange.step(event, wallMs())) this.#exchanged(effect);
  }

  fetch(event: FetchEvent): void {
    const { fetches, wallMs } = this.#parts;
    for (const effect of fetches.step(event, wallMs())) this.#fetching(effect);
  }

  /** What is held of a namespace has changed. */
  moved(namespace: string): void {
    const { reports, holdings } = this.#parts;
    reports.moved();
    this.exchange({ type: 'heads', namespace, vector: holdings.vectorOf(namespace) });
    this.fetch({ type: 'moved', namespace });
  }

  /** The vector moved otherwise than by commits. */
  advanced(namespace: string, heads: Parameters<Holdings['advanced']>[1]): void {
    this.#parts.holdings.advanced(namespace, heads);
    this.moved(namespace);
  }

  reportTo(origin: string, isAnswer: boolean): string {
    const { exchange, holdings, reports, hasLeases, wallMs } = this.#parts;
    const promised = isAnswer ? exchange.promisedBy(origin) : undefined;
    const started = exchange.startedFor(origin);
    if (!hasLeases && !promised?.size && started.size === 0) return reports.own(() => encodeReport(holdings.report()));
    return encodeReport({
      ...holdings.report(),
      ...(hasLeases && { heardMs: exchange.leases.ages(wallMs()), evicted: exchange.known.evicted }),
      ...(promised?.size && { promised }),
      ...(started.size > 0 && { started }),
    });
  }

  reported(text: string, isAnswer: boolean): void {
    const { reports, holdings } = this.#parts;
    const report = reports.read(text);
    for (const found of holdings.newIn(report)) this.exchange({ type: 'heads', ...found });
    this.exchange({ type: 'reported', report, isAnswer });
  }

  #exchanged(effect: ExchangeEffect): void {
    const { holdings, ask, onWentBack, onProblem } = this.#parts;
    switch (effect.type) {
      case 'ask':
        ask(effect.peer, { type: 'report', report: this.reportTo(effect.peer, false) }, (answer) => {
          if (answer === undefined) this.exchange({ type: 'ask-failed', peer: effect.peer });
          else this.reported(answer as string, true);
        });
        return;
      case 'pull':
      case 'bootstrap':
        this.fetch(effect);
        return;
      case 'whole':
        holdings.becameWhole(effect.namespace);
        this.moved(effect.namespace);
        return;
      case 'gone-back':
        if (!holdings.isWhole(effect.namespace)) return;
        holdings.wentBack(effect.namespace);
        onWentBack();
        this.moved(effect.namespace);
        return;
      case 'mismatch':
        onProblem(`two instances settle \`${effect.namespace}\` differently`);
        return;
      case 'fold':
        this.#fold(effect.namespace, effect.head);
    }
  }

  #fold(namespace: string, head: Head): void {
    const { store, onFolding } = this.#parts;
    onFolding(namespace, head);
    const event = (id: number): ReplicaEvent => ({ type: 'advance', id, namespace, heads: [head], floor: 0 });
    store.ask(event, ({ ok }) => {
      if (ok) this.advanced(namespace, [head]);
    });
  }

  #fetching(effect: FetchEffect): void {
    const { ask, transfer, take, onUnreadable } = this.#parts;
    switch (effect.type) {
      case 'ask-log': {
        const { pull, peer, namespace, source, after, upTo } = effect;
        ask(peer, { type: 'log', namespace, source: source.id, after, upTo }, (answer) => {
          this.fetch(
            answer === undefined ? { type: 'failed', pull } : { type: 'slice', pull, slice: answer as LogSlice },
          );
        });
        return;
      }
      case 'ask-snapshot': {
        const { pull, peer, namespace, after } = effect;
        ask(peer, { type: 'snapshot', namespace, after }, (answer) => {
          if (answer === undefined) this.fetch({ type: 'failed', pull });
          else this.fetch({ type: 'page', pull, page: transfer.received(answer as SentPage) });
        });
        return;
      }
      case 'take':
        take(effect.peer, effect.records);
        return;
      case 'join':
        this.#join(effect);
        return;
      case 'advance': {
        const { pull, namespace, heads, floor, ahead } = effect;
        this.#stored(
          pull,
          (id) => ({ type: 'advance', id, namespace, heads, floor, ahead }),
          () => this.advanced(namespace, heads),
        );
        return;
      }
      case 'pulled':
        if (effect.error !== undefined) onUnreadable(effect.error);
        this.exchange({ type: 'pulled', pull: effect.pull, outcome: effect.outcome });
    }
  }

  #join({ pull, namespace, entries, held, stretch }: Extract<FetchEffect, { readonly type: 'join' }>): void {
    const { store, transfer, onJoining } = this.#parts;
    onJoining(namespace);
    // Keys are looked for on the disk once what came in before is there.
    const event = (id: number): ReplicaEvent => ({ type: 'hold', id, namespace, records: held });
    store.ask(event, ({ ok }) => {
      if (!ok) {
        this.fetch({ type: 'failed', pull });
        return;
      }
      const absent = stretch === undefined ? [] : transfer.absentIn(namespace, stretch, entries);
      const covered = stretch?.heads;
      this.#stored(
        pull,
        (id) => ({ type: 'states', id, namespace, entries: [...entries, ...absent], covered, isPage: true }),
        () => this.moved(namespace),
      );
    });
  }

  #stored(pull: number, event: (id: number) => ReplicaEvent, then: () => void): void {
    this.#parts.store.ask(event, ({ ok }) => {
      if (ok) then();
      this.fetch({ type: ok ? 'stored' : 'failed', pull });
    });
  }
}
