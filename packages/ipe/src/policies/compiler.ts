import { Worker } from 'node:worker_threads';
import { IpeError } from '@ipe/core';
import type { CompiledPolicy, CompileOptions, CompileText, PolicyCompiler, PolicyText } from './types.ts';

export interface CompilerOptions {
  readonly version: string;
  /** For sets small enough to be done in place. */
  readonly compileText: CompileText;
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
  readonly resolve: (results: readonly CompiledPolicy[]) => void;
  readonly reject: (error: unknown) => void;
}

/** What goes to the worker and what comes back, one slice at a time. */
export interface SliceRequest {
  readonly id: number;
  readonly texts: readonly PolicyText[];
}
export type SliceAnswer =
  | { readonly id: number; readonly results: readonly CompiledPolicy[] }
  | { readonly id: number; readonly failure: string };

/**
 * Makes a compiler that does small sets in place and large ones in one worker thread, started when first needed. Sets
 * of several callers are interleaved by slices, so that a large one does not hold up a small one for long.
 */
export function createPolicyCompiler(options: CompilerOptions): PolicyCompiler {
  const { compileText, inlineMax = 16, sliceSize = 64, sliceTimeoutMs = 120_000, idleMs = 30_000 } = options;
  const queue: Slice[] = [];
  let worker: Worker | undefined;
  let current: { readonly id: number; readonly slice: Slice; readonly timer: NodeJS.Timeout } | undefined;
  let idle: NodeJS.Timeout | undefined;
  let lastId = 0;
  let closed = false;

  const start = (): Worker => {
    const made = new Worker(options.workerFile);
    made.on('message', (answer: SliceAnswer) => {
      if (worker !== made || current === undefined || answer.id !== current.id) return;
      const { slice, timer } = current;
      clearTimeout(timer);
      current = undefined;
      if ('results' in answer) slice.resolve(answer.results);
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
    worker.postMessage({ id, texts: slice.texts } satisfies SliceRequest);
  };

  const inWorker = (texts: readonly PolicyText[]): Promise<readonly CompiledPolicy[]> =>
    new Promise((resolve, reject) => {
      queue.push({ texts, resolve, reject });
      next();
    });

  const check = (signal: AbortSignal | undefined): void => {
    if (closed) throw new IpeError('unavailable', 'the node is stopping');
    if (signal?.aborted) throw new IpeError('unavailable', 'compiling was given up with the request');
  };

  return {
    version: options.version,
    async compile(texts, { signal, onProgress }: CompileOptions = {}) {
      check(signal);
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
        results.push(...(await awaited));
        onProgress?.(results.length, texts.length);
        check(signal);
      }
      return results;
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
