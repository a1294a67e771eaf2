import { afterEach, expect, test } from 'vitest';
import { type CompilerOptions, createPolicyCompiler } from './compiler.ts';
import type { CompiledPolicy, PolicyCompiler, PolicyText } from './types.ts';

/** A worker that answers each policy with its path, throws on `throw`, ends on `exit` and never answers `hang`. */
const workerFile = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort, threadId } from 'node:worker_threads';
    parentPort.on('message', ({ id, texts }) => {
      if (texts.some(({ source }) => source === 'exit')) process.exit(1);
      if (texts.some(({ source }) => source === 'hang')) return;
      if (texts.some(({ source }) => source === 'throw')) return parentPort.postMessage({ id, failure: 'boom' });
      parentPort.postMessage({ id, compiled: texts.map(({ path }) => ({ path, problems: [], tests: [{ path, file: 'x', name: String(threadId), passed: true }] })) });
    });
  `)}`,
);

const compilers: PolicyCompiler[] = [];
afterEach(async () => {
  await Promise.all(compilers.splice(0).map((compiler) => compiler.close()));
});

function compiler(options: Partial<CompilerOptions> = {}): PolicyCompiler {
  const made = createPolicyCompiler({
    version: 'test',
    workerFile,
    testText: () => [],
    compileText: ({ path }): CompiledPolicy => ({
      path,
      problems: [],
      tests: [{ path, file: 'x', name: 'inline', passed: true }],
    }),
    inlineMax: 2,
    sliceSize: 3,
    ...options,
  });
  compilers.push(made);
  return made;
}

const texts = (count: number, source = 's'): PolicyText[] =>
  Array.from({ length: count }, (_, i) => ({ path: `p${i}`, source }));
const places = (results: readonly CompiledPolicy[]) => new Set(results.map(({ tests }) => tests[0]!.name));

test('a small set is compiled in place, a large one in another thread, both in order', async () => {
  const made = compiler();
  expect(places(await made.compile(texts(2)))).toEqual(new Set(['inline']));
  const progress: [number, number][] = [];
  const results = await made.compile(texts(8), { onProgress: (done, all) => progress.push([done, all]) });
  expect(results.map(({ path }) => path)).toEqual(texts(8).map(({ path }) => path));
  expect(places(results)).not.toContain('inline');
  expect(progress).toEqual([
    [3, 8],
    [6, 8],
    [8, 8],
  ]);
});

test('several sets at once share one thread', async () => {
  const made = compiler();
  const results = await Promise.all([made.compile(texts(7)), made.compile(texts(5)), made.compile(texts(3))]);
  expect(results.map((set) => set.length)).toEqual([7, 5, 3]);
  expect(new Set(results.flatMap((set) => [...places(set)])).size).toBe(1);
});

test('a compiler that fails, dies or hangs is reported, and the next set starts afresh', async () => {
  const made = compiler();
  await expect(made.compile(texts(4, 'throw'))).rejects.toMatchObject({ reason: 'internal', state: 'unchanged' });
  await expect(made.compile(texts(4, 'exit'))).rejects.toMatchObject({ reason: 'unavailable' });
  await expect(made.compile(texts(4))).resolves.toHaveLength(4);
  const impatient = compiler({ sliceTimeoutMs: 1 });
  await expect(impatient.compile(texts(4, 'hang'))).rejects.toThrow('took longer');
});

test('work is given up with its request, and refused after closing', async () => {
  const made = compiler();
  await expect(made.compile(texts(9), { signal: AbortSignal.abort() })).rejects.toMatchObject({
    reason: 'unavailable',
  });
  const controller = new AbortController();
  const running = made.compile(texts(30), { signal: controller.signal, onProgress: () => controller.abort() });
  await expect(running).rejects.toMatchObject({ reason: 'unavailable' });
  const hanging = made.compile(texts(4, 'hang'));
  await Promise.all([expect(hanging).rejects.toMatchObject({ reason: 'unavailable' }), made.close()]);
  await expect(made.compile(texts(1))).rejects.toMatchObject({ reason: 'unavailable' });
});
