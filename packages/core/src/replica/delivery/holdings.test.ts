import { describe, expect, test } from 'vitest';
import { Holdings, type HoldingsOptions } from './holdings.ts';

function open(options: Partial<HoldingsOptions> = {}): Holdings {
  return new Holdings({
    origin: '0000000000000001',
    interest: 'all',
    strategyOf: () => ({ kind: 'lww' }),
    purgedMsOf: () => 0,
    isHoldingBack: () => false,
    aheadOf: () => undefined,
    isSettled: true,
    recovered: ['n', 'm'].map((name) => ({ name, heads: new Map() })),
    ...options,
  });
}

describe('a store that turns out to be an old copy', () => {
  test('is not whole any more in what it was told of, and is known to have been, until it is whole again', () => {
    const holdings = open();
    holdings.wentBack('n');
    expect([holdings.isSettled, holdings.whole(), holdings.goneBack()]).toEqual([false, ['m'], ['n']]);
    const restarted = open({ isSettled: false, whole: holdings.whole(), goneBack: holdings.goneBack() });
    expect([restarted.loading(), restarted.goneBack()]).toEqual([['n'], ['n']]);
    restarted.becameWhole('n');
    expect([restarted.whole(), restarted.goneBack()]).toEqual([['n', 'm'], []]);
  });

  test('is not one that joins, which never held what it is loading', () => {
    expect(open({ isSettled: false }).goneBack()).toEqual([]);
  });
});
