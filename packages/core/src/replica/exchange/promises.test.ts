import { beforeEach, describe, expect, test } from 'vitest';
import { Sources } from '../dot.ts';
import { Exchange } from './exchange.ts';
import { decodeReport, encodeReport, type VectorReport } from './report.ts';

const [here, there] = ['0000000000000001', '0000000000000002'];
const strategy = 'lww/clock';
const sources = new Sources();
const source = sources.parse(`${there}:000000000001`)!;

/** One instance, as the other meets it: what it holds of one namespace, and what it knows of the other. */
class Instance {
  readonly origin: string;
  readonly peer: string;
  exchange!: Exchange;
  seq = 0;
  isWhole = true;

  constructor(origin: string, peer: string) {
    this.origin = origin;
    this.peer = peer;
  }

  /** A process begins, with what is on its disk. */
  start(seq: number): void {
    this.exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4 });
    this.exchange.step({ type: 'members', origins: [this.peer] }, 0);
    this.hold(seq);
  }

  hold(seq: number, isWhole = true): void {
    Object.assign(this, { seq, isWhole });
    this.exchange.step({ type: 'heads', namespace: 'n', vector: this.vector() }, 0);
  }

  vector() {
    return { strategy, isWhole: this.isWhole, heads: new Map([[source, this.seq]]) };
  }

  report(isAnswer: boolean): VectorReport {
    const { origin, exchange } = this;
    const promised = isAnswer ? exchange.promisedBy(this.peer) : new Map();
    const started = exchange.startedFor(this.peer);
    const namespaces = new Map([['n', this.vector()]]);
    const report = { origin, interest: 'all', isSettled: this.isWhole, namespaces, promised, started } as const;
    return decodeReport(encodeReport(report), sources);
  }

  /** @returns whether it is known now that this store is an old copy */
  hear(report: VectorReport, isAnswer: boolean): boolean {
    return this.exchange.step({ type: 'reported', report, isAnswer }, 0).some(({ type }) => type === 'gone-back');
  }
}

/** @returns whether who asks is told that it went back */
function ask(asking: Instance, asked: Instance, { isAnswerLost = false } = {}): boolean {
  asked.hear(asking.report(false), false);
  const answer = asked.report(true);
  return !isAnswerLost && asking.hear(answer, true);
}

describe('an instance that starts', () => {
  let a: Instance;
  let b: Instance;

  beforeEach(() => {
    [a, b] = [new Instance(here, there), new Instance(there, here)];
    a.start(5);
    b.start(5);
    ask(a, b);
  });

  test('from an old copy is told so though it has caught up before anybody heard it', () => {
    a.start(3);
    a.hold(5);
    expect(ask(a, b)).toBe(true);
  });

  test('from an old copy is told so though the first answers are lost, and once the other holds all', () => {
    a.start(3);
    a.hold(6);
    b.hold(6, false);
    expect(ask(a, b)).toBe(false);
    b.hold(6);
    expect(ask(a, b, { isAnswerLost: true })).toBe(false);
    expect(ask(b, a)).toBe(false);
    expect(ask(a, b)).toBe(true);
  });

  test('from an old copy, and loads anew, is believed then', () => {
    a.start(3);
    a.hold(5);
    ask(a, b);
    a.hold(5, false);
    expect(ask(a, b)).toBe(false);
    a.hold(5);
    expect(ask(a, b)).toBe(false);
  });

  test('with all that it had is never told so, whatever it catches up with and whichever answers are lost', () => {
    a.start(5);
    b.hold(8);
    a.hold(8);
    expect(ask(a, b, { isAnswerLost: true })).toBe(false);
    expect(ask(b, a)).toBe(false);
    expect(ask(a, b)).toBe(false);
    a.hold(9);
    expect(ask(a, b)).toBe(false);
    expect(a.exchange.startedFor(there).size).toBe(0);
  });

  test('tells those who do not take part in a namespace nothing of it', () => {
    a.start(5);
    expect([...a.exchange.startedFor(there).keys()]).toEqual(['n']);
    a.hear({ origin: there, interest: ['m'], isSettled: true, namespaces: new Map() }, true);
    expect(a.exchange.startedFor(there).size).toBe(0);
  });
});
