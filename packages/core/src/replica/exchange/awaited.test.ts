import { describe, expect, test } from 'vitest';
import { type Source, Sources } from '../dot.ts';
import { Exchange, type ExchangeEvent } from './exchange.ts';

const sources = new Sources();
const peer = '1'.padStart(16, '0');
const source = sources.of('2'.padStart(16, '0'), 1);
const strategy = 'lww';

/** An exchange with one linked peer, and what it asks to be pulled. */
function open({ isDelivering = true, isWhole = true } = {}) {
  const exchange = new Exchange({ intervalMs: 1_000, pullsMax: 4, planeGraceMs: 500 });
  let nowMs = 10_000;
  const step = (event: ExchangeEvent) => exchange.step(event, nowMs).filter((effect) => effect.type === 'pull');
  const vectorOf = (seq: number, whole: boolean) => {
    const heads = new Map<Source, number>(seq > 0 ? [[source, seq]] : []);
    return { strategy, isWhole: whole, heads };
  };
  const reports = (seq: number) => {
    const namespaces = new Map([['n', vectorOf(seq, true)]]);
    return step({
      type: 'reported',
      report: { origin: peer, interest: 'all', isSettled: true, namespaces },
      isAnswer: true,
    });
  };
  const holds = (seq: number) => step({ type: 'heads', namespace: 'n', vector: vectorOf(seq, isWhole) });
  const after = (ms: number) => {
    nowMs += ms;
    return step({ type: 'tick' });
  };
  step({ type: 'members', origins: [peer, source.origin] });
  step({ type: 'linked', peer });
  step({ type: 'plane', isDelivering });
  holds(1);
  return { step, reports, holds, after };
}

const pullOf = (after: number, upTo: number) => expect.objectContaining({ type: 'pull', source, after, upTo });

describe('while a message plane delivers, what a peer reports', () => {
  test('is pulled once it has been missing for the grace period, and no more than was missing then', () => {
    const { reports, after } = open();
    expect(reports(3)).toEqual([]);
    expect(after(300)).toEqual([]);
    expect(reports(5)).toEqual([]);
    expect(after(199)).toEqual([]);
    expect(after(1)).toEqual([pullOf(1, 3)]);
  });

  test('is not pulled when it has come meanwhile, however much more there is by then', () => {
    const { reports, holds, after } = open();
    for (let seq = 3; seq < 60; seq += 2) {
      expect(reports(seq)).toEqual([]);
      expect(after(300)).toEqual([]);
      expect(holds(seq)).toEqual([]);
    }
  });

  test('is pulled in the end where some of it comes and the rest does not', () => {
    const { reports, holds, after } = open();
    reports(4);
    after(400);
    expect(holds(3)).toEqual([]);
    expect(after(100)).toEqual([pullOf(3, 4)]);
  });

  test('is pulled at once where the plane has left out something of its writer, until that was pulled', () => {
    const { step, reports, holds } = open();
    step({ type: 'left-out', namespace: 'n', origin: source.origin });
    const [pull] = reports(3);
    expect(pull).toEqual(pullOf(1, 3));
    holds(3);
    step({ type: 'pulled', pull: pull!.pull, outcome: 'done' });
    expect(reports(4)).toEqual([]);
  });

  test('is pulled at once when the plane is lost', () => {
    const { step, reports } = open();
    expect(reports(3)).toEqual([]);
    expect(step({ type: 'plane', isDelivering: false })).toEqual([pullOf(1, 3)]);
  });

  test('is pulled at once where the namespace is still loading', () => {
    expect(open({ isWhole: false }).reports(3)).toEqual([pullOf(1, 3)]);
  });

  test('waits anew, and no longer, when the clock steps back', () => {
    const { reports, after } = open();
    reports(3);
    expect(after(-3_600_000)).toEqual([]);
    expect(after(500)).toEqual([pullOf(1, 3)]);
  });
});

test('without a message plane what a peer reports is pulled at once', () => {
  expect(open({ isDelivering: false }).reports(3)).toEqual([pullOf(1, 3)]);
});
