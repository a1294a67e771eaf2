import { Worker } from 'node:worker_threads';
import { IpeError } from '@ipe/core';
import { comparePaths } from '@ipe/core/tree';
import type {
  CompiledPolicy,
  CompileOptions,
  CompileText,
  PolicyCompiler,
  PolicyText,
  ProgramAt,
  TestOutcome,
  TestText,
} from './types.ts';

export interface CompilerOptions {
  readonly version: string;
  /** For sets small enough to be done in place. */
  readonly compileText: CompileText;
  readonly testText: TestText;
  /** Module that a worker thread runs: it answers slices through `serveCompiler`. */
  readonly workerFile: URL;
  /** Sets larger than this go to the worker. Default 16. */
  readonly inlineMax?: number;
  /** Policies sent to the worker at a time; smaller slices are fairer between callers. Default 64. */
  readonly sliceSize?: number;
  /** A slice that takes longer means that the compiler hangs; the worker is then ended. Default 120 s. */
  readonly sliceTimeoutMs?: number;
  /** The worker ends by itself after being idle for so long. Default 30 s. */
  readonly idleMs?: number;
}

interface Slice {
  readonly texts: readonly PolicyText[];
  readonly programs?: readonly ProgramAt[];
  readonly resolve: (answer: SliceAnswer) => void;
  readonly reject: (error: unknown) => void;
}

/** What goes to the worker, one slice at a time: texts to compile, or with `programs` texts to test against them. */
export interface SliceRequest {
  readonly id: number;
  readonly texts: readonly PolicyText[];
  readonly programs?: readonly ProgramAt[];
}
/** What comes back, each list in the order of the texts. */
export type SliceAnswer =
  | { readonly id: number; readonly compiled: readonly CompiledPolicy[] }
  | { readonly id: number; readonly tests: readonly (readonly TestOutcome[])[] }
  | { readonly id: number; readonly failure: string };

/**
 * Makes a compiler that does small sets in place and large ones in one worker thread, started when first needed. Sets
 * of several callers are interleaved by slices, so that a large one does not hold up a small one for long.
 */
export function createPolicyCompiler(options: CompilerOptions): PolicyCompiler {
  const { compileText, testText, inlineMax = 16, sliceSize = 64, sliceTimeoutMs = 120_000, idleMs = 30_000 } = options;
  const queue: Slice[] = [];
  let worker: Worker | undefined;
  let current: { readonly id: number; readonly slice: Slice; readonly timer: NodeJS.Timeout } | undefined;
  let idle: NodeJS.Timeout | undefined;
  let lastId = 0;
  let closed = false;

  const start = (): Worker => {
    // Flags of the process, such as import conditions of a test runner, are not the worker's.
    const made = new Worker(options.workerFile, { execArgv: [] });
    made.on('message', (answer: SliceAnswer) => {
      if (worker !== made || current === undefined || answer.id !== current.id) return;
      const { slice, timer } = current;
      clearTimeout(timer);
      current = undefined;
      if (!('failure' in answer)) slice.resolve(answer);
      else
        slice.reject(new IpeError('internal', `the policy compiler failed: ${answer.failure}`, { state: 'unchanged' }));
      next();
    });
    made.on('error', (error) =>
      stopped(
        made,
        new IpeError('internal', `the policy compiler failed: ${error.message}`, { cause: error, state: 'unchanged' }),
      ),
    );
    made.on('exit', () => stopped(made, new IpeError('unavailable', 'the policy compiler was stopped')));
    return made;
  };

  const stopped = (which: Worker, error: IpeError): void => {
    if (worker !== which) return;
    worker = undefined;
    if (current !== undefined) {
      clearTimeout(current.timer);
      current.slice.reject(error);
      current = undefined;
    }
    next();
  };

  const end = (error: IpeError): void => {
    const which = worker;
    if (which === undefined) return;
    stopped(which, error);
    void which.terminate();
  };

  const next = (): void => {
    if (current !== undefined) return;
    const slice = queue.shift();
    if (slice === undefined) {
      // An idle worker neither keeps the process alive nor stays for long.
      worker?.unref();
      idle ??= setTimeout(() => {
        idle = undefined;
        if (current === undefined) end(new IpeError('unavailable', 'the policy compiler was idle'));
      }, idleMs).unref();
      return;
    }
    clearTimeout(idle);
    idle = undefined;
    worker ??= start();
    worker.ref();
    const id = ++lastId;
    const timer = setTimeout(
      () =>
        end(
          new IpeError(
            'unavailable',
            `compiling ${slice.texts.length} policies took longer than ${sliceTimeoutMs / 1000} s`,
          ),
        ),
      sliceTimeoutMs,
    );
    current = { id, slice, timer };
    const { texts, programs } = slice;
    worker.postMessage({ id, texts, ...(programs !== undefined && { programs }) } satisfies SliceRequest);
  };

  const inWorker = (texts: readonly PolicyText[], programs?: readonly ProgramAt[]): Promise<SliceAnswer> =>
    new Promise((resolve, reject) => {
      queue.push({ texts, resolve, reject, ...(programs !== undefined && { programs }) });
      next();
    });

  const check = (signal: AbortSignal | undefined): void => {
    if (closed) throw new IpeError('unavailable', 'the node is stopping');
    if (signal?.aborted) throw new IpeError('unavailable', 'compiling was given up with the request');
  };

  /** Compiles, and runs the tests that ask nothing but their own policy. */
  const compileAll = async (texts: readonly PolicyText[], { signal, onProgress }: CompileOptions) => {
    const results: CompiledPolicy[] = [];
    if (texts.length <= inlineMax) {
      for (const text of texts) results.push(compileText(text));
      return results;
    }
    // The next slice is queued before the one before is awaited, so that the worker never waits for this thread.
    let ahead = inWorker(texts.slice(0, sliceSize));
    for (let at = sliceSize; at - sliceSize < texts.length; at += sliceSize) {
      const awaited = ahead;
      if (at < texts.length) {
        ahead = inWorker(texts.slice(at, at + sliceSize));
        // Awaited below; a failure of the slice before must not leave this one unhandled.
        ahead.catch(() => {});
      }
      const answer = await awaited;
      if ('compiled' in answer) results.push(...answer.compiled);
      onProgress?.(results.length, texts.length);
      check(signal);
    }
    return results;
  };

  /** Runs the tests that were left because they ask other paths: against the set, and what stands around it. */
  const testRest = async (
    texts: readonly PolicyText[],
    compiled: readonly CompiledPolicy[],
    { signal, surroundings }: CompileOptions,
  ): Promise<readonly CompiledPolicy[]> => {
    if (!compiled.some(({ asks }) => asks !== undefined)) return compiled;
    const tested: CompiledPolicy[] = [];
    for (const [index, policy] of compiled.entries()) {
      const { asks, ...rest } = policy;
      if (asks === undefined) {
        tested.push(policy);
        continue;
      }
      const programs = new Map<string, ProgramAt>();
      for (const path of [policy.path, ...asks]) {
        for (const each of (await surroundings?.programsAt(path)) ?? []) programs.set(each.path, each);
        for (const { path: at, files } of compiled)
          if (files !== undefined && (at === path || at.startsWith(`${path}.`)))
            programs.set(at, { path: at, program: files.program });
      }
      const ordered = [...programs.values()].sort((a, b) => comparePaths(a.path, b.path));
      const text = texts[index]!;
      if (ordered.length <= inlineMax) tested.push({ ...rest, tests: testText(text, ordered) });
      else {
        const answer = await inWorker([text], ordered);
        tested.push({ ...rest, tests: 'tests' in answer ? answer.tests[0]! : [] });
      }
      check(signal);
    }
    return tested;
  };

  return {
    version: options.version,
    async compile(texts, compileOptions = {}) {
      check(compileOptions.signal);
      return testRest(texts, await compileAll(texts, compileOptions), compileOptions);
    },
    async test(texts, asks, testOptions) {
      check(testOptions.signal);
      const untested = texts.map(({ path }, i) => ({ path, problems: [], tests: [], asks: asks[i]! }));
      return (await testRest(texts, untested, testOptions)).flatMap(({ tests }) => tests);
    },
    async close() {
      closed = true;
      clearTimeout(idle);
      idle = undefined;
      const error = new IpeError('unavailable', 'the node is stopping');
      for (const slice of queue.splice(0)) slice.reject(error);
      const which = worker;
      end(error);
      await which?.terminate();
    },
  };
}
