import { expect, test } from 'vitest';
import type { AuditLine } from '../security/audit.ts';
import { memoryState } from '../testkit/control.ts';
import { type CitedRootsOptions, openCitedRoots } from './cited-roots.ts';

const id = (n: number) => n.toString(16).padStart(64, '0');
const at = (n: number) => ({ root: id(n), commit: id(n + 100) });
const dayMs = 86_400_000;

/** A log that decisions are appended to, and the roots cited by it. */
function fixture(more: Partial<CitedRootsOptions> = {}) {
  let nowMs = 1_700_000_000_000;
  const lines: AuditLine[] = [];
  const reads: number[] = [];
  const state = memoryState();
  const open = () =>
    openCitedRoots({
      state,
      retentionMs: 30 * dayMs,
      clock: () => nowMs,
      onError: (error) => {
        throw error;
      },
      async *linesAfter(line) {
        reads.push(line);
        yield* lines.slice(line);
      },
      ...more,
    });
  return {
    state,
    reads,
    open,
    /** Appends a line as the decision log does. */
    log(citation: { root: string; commit: string | null }) {
      const time = new Date(nowMs).toISOString();
      lines.push({ n: lines.length + 1, time, previous: '', event: 'decision', receipt: { ...citation } });
      return lines.length;
    },
    pass(days: number) {
      nowMs += days * dayMs;
      return nowMs;
    },
    get nowMs() {
      return nowMs;
    },
  };
}

test('a root is cited from the time of its latest decision', async () => {
  const { open, log, pass } = fixture();
  const cited = await open();
  cited.cite(at(1), log(at(1)));
  const later = pass(10);
  cited.cite(at(2), log(at(2)));
  expect(cited.since(0)).toMatchObject([at(1), at(2)]);
  expect(cited.since(later)).toMatchObject([at(2)]);
  cited.cite(at(1), log(at(1)));
  expect(cited.since(later)).toMatchObject([at(1), at(2)]);
  await cited.close();
});

test('roots are remembered over a restart without reading the log again', async () => {
  const { open, log, reads } = fixture();
  const cited = await open();
  for (let n = 1; n <= 5; n++) cited.cite(at(n), log(at(n)));
  await cited.close();
  expect((await open()).since(0)).toHaveLength(5);
  expect(reads).toEqual([0, 5]);
});

test('after a crash, lines that were logged and not saved are read from the log, and only those', async () => {
  const { open, log, reads, state } = fixture();
  const cited = await open();
  cited.cite(at(1), log(at(1)));
  await cited.close();
  for (let n = 2; n <= 4; n++) log(at(n));
  const again = await open();
  expect(again.since(0)).toMatchObject([at(1), at(2), at(3), at(4)]);
  expect(reads).toEqual([0, 1]);
  expect(JSON.parse((await state.load())!).line).toBe(4);
});

test('a state that is damaged is found again in the log', async () => {
  const { open, log, state } = fixture();
  const cited = await open();
  cited.cite(at(1), log(at(1)));
  await cited.close();
  for (const damage of [
    '',
    '{',
    '{"version":1,"line":1,"roots":[["x",null,1]]}',
    '{"version":2,"line":1,"roots":[]}',
  ]) {
    await state.save(damage);
    expect((await open()).since(0)).toMatchObject([at(1)]);
  }
});

test('a root that no decision has named for longer than retention is forgotten', async () => {
  const { open, log, pass } = fixture();
  const cited = await open();
  cited.cite(at(1), log(at(1)));
  pass(31);
  cited.cite(at(2), log(at(2)));
  await cited.close();
  expect((await open()).since(0)).toMatchObject([at(2)]);
});

test('many decisions at one root save the state once in a while, so that little is read after a crash', async () => {
  const { open, log, reads } = fixture({ linesUnsavedMax: 100 });
  const cited = await open();
  for (let n = 0; n < 1050; n++) cited.cite(at(1), log(at(1)));
  await cited.close();
  for (let n = 0; n < 50; n++) cited.cite(at(1), log(at(1)));
  expect((await open()).since(0)).toMatchObject([at(1)]);
  expect(reads.at(-1)).toBeGreaterThanOrEqual(1000);
});

test('a save that fails is reported, and done with the next root', async () => {
  const errors: unknown[] = [];
  const inner = memoryState();
  let failing = true;
  const state = {
    load: () => inner.load(),
    save: async (text: string) => {
      if (failing) throw new Error('disk full');
      await inner.save(text);
    },
  };
  const { open, log } = fixture({ state, onError: (error) => errors.push(error) });
  const cited = await open();
  cited.cite(at(1), log(at(1)));
  await expect.poll(() => errors).toHaveLength(1);
  failing = false;
  cited.cite(at(2), log(at(2)));
  await cited.close();
  expect(JSON.parse((await inner.load())!).roots).toHaveLength(2);
});
