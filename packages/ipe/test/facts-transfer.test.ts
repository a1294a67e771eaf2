import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Entry } from '@ipe/client/protocol';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { patience } from '../src/testkit/patience.ts';
import { type NodeProcess, program, startProcess } from '../src/testkit/process.ts';
import { type Gate, openGate } from './support/gate.ts';
import { runProgram } from './support/run-program.ts';
import { Cleanups } from './support/scratch.ts';

const cleanups = new Cleanups();
let node: NodeProcess;
/** Between the program and the node's data socket. */
let gate: Gate;
let file: string;

beforeEach(async () => {
  const folder = await cleanups.folder();
  node = await startProcess(folder);
  cleanups.add(() => node.kill());
  gate = await openGate(join(folder, 'run', 'data.sock'), join(folder, 'gate.sock'));
  cleanups.add(() => gate.close());
  file = join(await cleanups.folder(), 'facts.ndjson');
});
afterEach(() => cleanups.run());

interface Fact {
  readonly key: string;
  readonly value: { readonly n: number; readonly text: string };
}

const count = 4_500;
const factOf = (n: number): Fact => ({
  key: `${n % 2 === 0 ? 'even' : 'odd'}.k${n}`,
  value: { n, text: 'x'.repeat(100) },
});
const facts = Array.from({ length: count }, (_, n) => factOf(n));
const inOrder = (list: readonly Fact[]) => [...list].sort((a, b) => (a.key < b.key ? -1 : 1));
const ndjson = (list: readonly Fact[]) => list.map((fact) => `${JSON.stringify(fact)}\n`).join('');
const readFacts = async (path: string) =>
  inOrder(
    (await readFile(path, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line): Fact => JSON.parse(line)),
  );
const placeIn = async (path: string) => JSON.parse(await readFile(path, 'utf8')).place;

const data = (...argv: string[]) => runProgram(['data', ...argv, '--dir', node.directory]);

/** Starts a command through the gate, ends it with a signal once `isUnderWay`, and gives what it said. */
async function endMidway(signal: NodeJS.Signals, argv: readonly string[], isUnderWay: () => Promise<unknown>) {
  const child = spawn(process.execPath, [
    program,
    'data',
    ...argv,
    ...['--socket', gate.address, '--dir', node.directory],
  ]);
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const exited = once(child, 'exit');
  cleanups.add(() => child.kill('SIGKILL'));
  await vi.waitFor(isUnderWay, patience);
  child.kill(signal);
  const [code] = await exited;
  gate.release();
  return { code: code as number | null, err };
}

/** An export that was ended by a signal after some of its pages. */
async function cutShort(signal: NodeJS.Signals) {
  for (let at = 0; at < count; at += 1000) await node.data.putAll(facts.slice(at, at + 1000));
  gate.holdAfter(700_000);
  const ended = await endMidway(signal, ['export', '*', file], async () => {
    expect((await placeIn(`${file}.partial.json`)).facts).toBeGreaterThanOrEqual(1000);
  });
  expect(existsSync(file)).toBe(false);
  expect((await placeIn(`${file}.partial.json`)).facts).toBeLessThan(count);
  return ended;
}

async function changeEverything(): Promise<void> {
  await node.data.putAll(facts.slice(0, 1000).map(({ key }) => ({ key, value: 'changed' })));
  await node.data.putAll(Array.from({ length: 100 }, (_, n) => ({ key: `even.new${n}`, value: 'new' })));
  for (let n = count - 100; n < count; n++) await node.data.delete(factOf(n).key);
}

test.each(['SIGKILL', 'SIGINT'] as const)('an export ended by %s goes on in the same snapshot', async (signal) => {
  const { code, err } = await cutShort(signal);
  if (signal === 'SIGINT') {
    expect(code).toBe(1);
    expect(err).toMatch(/stopped after \d000 facts; the same command goes on from there/);
  }
  await changeEverything();
  const { facts: before } = await placeIn(`${file}.partial.json`);

  expect(await data('export', '*', file)).toMatchObject({
    code: 0,
    err: expect.stringMatching(new RegExp(`going on behind ${before} facts[^]*exported ${count} facts`)),
  });
  expect(await readFacts(file)).toEqual(inOrder(facts));
  expect([`${file}.partial`, `${file}.partial.json`].filter(existsSync)).toEqual([]);
});

test('an export whose moment is gone with its node begins anew and says so; so does one that is told to', async () => {
  await cutShort('SIGKILL');
  await node.stop();
  node = await startProcess(node.directory);
  cleanups.add(() => node.kill());
  await node.data.put('even.k0', 'changed');
  const { code, err } = await data('export', '*', file);
  expect([code, err]).toEqual([0, expect.stringContaining('beginning anew')]);
  const exported = await readFacts(file);
  expect(exported.find(({ key }) => key === 'even.k0')?.value).toBe('changed');
  expect(exported).toHaveLength(count);

  gate.holdAfter(700_000);
  await endMidway('SIGKILL', ['export', '*', file], async () => {
    expect((await placeIn(`${file}.partial.json`)).facts).toBeGreaterThanOrEqual(1000);
  });
  const anew = await data('export', '*', file, '--anew');
  expect([anew.code, anew.err]).toEqual([0, `exported ${count} facts\n`]);
});

/** An import that was ended after some of its batches, the last of them written and its answer lost. */
async function importCutShort(signal: NodeJS.Signals) {
  await writeFile(file, ndjson(facts));
  gate.holdAfter(300_000);
  const ended = await endMidway(signal, ['import', file], async () => {
    const { entries } = await node.data.call('stats', {});
    const { lines } = await placeIn(`${file}.import.json`);
    expect(lines).toBeGreaterThanOrEqual(1000);
    expect(entries).toBe(lines + 1000);
  });
  return { ...ended, lines: (await placeIn(`${file}.import.json`)).lines as number };
}

test.each(['SIGKILL', 'SIGINT'] as const)(
  'an import ended by %s goes on behind the last acknowledged batch and writes nothing twice',
  async (signal) => {
    const { code, err, lines } = await importCutShort(signal);
    if (signal === 'SIGINT')
      expect([code, err]).toEqual([1, expect.stringContaining(`stopped behind line ${lines}; the same command`)]);

    const again = await data('import', file);
    expect(again).toMatchObject({ code: 0, out: `imported ${count} facts\n` });
    expect(again.err).toContain(`going on behind line ${lines} `);
    expect(existsSync(`${file}.import.json`)).toBe(false);
    const found: Entry[] = [];
    for (const pattern of ['even.*', 'odd.*'])
      for await (const entry of node.data.query(pattern, { limit: 10_000 })) found.push(entry);
    expect(inOrder(found.map(({ key, value }) => ({ key, value }) as Fact))).toEqual(inOrder(facts));
    expect(found.filter(({ version }) => version !== 1)).toEqual([]);
  },
);

test('an import goes on in a file that was mended behind the place, and begins anew in one that differs before it', async () => {
  const { lines } = await importCutShort('SIGKILL');
  await writeFile(file, `${ndjson(facts.slice(0, -1))}{"no": "fact"}\n`);
  const refused = await data('import', file);
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining(`${file}:${count}: expected an object`) });
  expect(refused.err).toContain(`going on behind line ${lines} `);
  expect(refused.err).toContain('stopped behind line 4000;');

  await writeFile(file, ndjson([{ key: 'odd.other', value: { n: -1, text: 'new' } }, ...facts.slice(1)]));
  const anew = await data('import', file);
  expect(anew).toMatchObject({ code: 0, out: `imported ${count} facts\n` });
  expect(anew.err).toContain('beginning anew: an import was cut short behind line 4000, and the file has changed');
  expect(await node.data.get('odd.other')).toMatchObject({ value: { n: -1 } });
});
