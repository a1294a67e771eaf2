import type { LogRecord } from '@ipe/core/replica';
import { expect, test } from 'vitest';
import { Backlog } from './backlog.ts';

const record = (seq: number) => ({ seq }) as LogRecord;
const never = new AbortController().signal;

/** Whether a promise is settled after all that is ready has run. */
async function isSettled(promise: Promise<void>): Promise<boolean> {
  let settled = false;
  void promise.then(() => {
    settled = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

test('a plane is held back from the bound on until what it delivered last is on disk', async () => {
  let durable = 0;
  const backlog = new Backlog({ bytesMax: 100, waitMsMax: 60_000, isDurable: ({ seq }) => seq <= durable });
  backlog.taken(60, record(1));
  expect(await isSettled(backlog.ready(never))).toBe(true);
  backlog.taken(60, record(2));
  const held = backlog.ready(never);
  expect(await isSettled(held)).toBe(false);
  durable = 1;
  backlog.moved();
  expect(await isSettled(held)).toBe(false);
  durable = 2;
  backlog.moved();
  await held;
  expect(await isSettled(backlog.ready(never))).toBe(true);
});

test('it is not held back for ever by a record that waits behind a gap, nor beyond the end', async () => {
  const backlog = new Backlog({ bytesMax: 1, waitMsMax: 5, isDurable: () => false });
  backlog.taken(1, record(1));
  await backlog.ready(never);
  const long = new Backlog({ bytesMax: 1, waitMsMax: 60_000, isDurable: () => false });
  long.taken(1, record(1));
  const closing = new AbortController();
  const held = long.ready(closing.signal);
  closing.abort();
  await held;
});
