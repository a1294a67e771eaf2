import { IpeError, isIpeError, nearest } from '@ipe/core';
import type { StateText } from '../gitops/mirrors.ts';

/** Progress of a job under way: plain numbers and words, shown in `status`. */
export type Progress = Readonly<Record<string, number | string>>;

/** Something done now and then in the background. */
export interface UpkeepJob {
  readonly name: string;
  /** Time between two runs; absent: only by hand. */
  readonly everyMs?: number;
  /** @returns a summary for `status`: small, JSON. */
  run(signal: AbortSignal, report: (progress: Progress) => void): Promise<unknown>;
}

export interface UpkeepOptions {
  readonly jobs: readonly UpkeepJob[];
  /** Keeps when each job last ran, so that a node restarted daily still makes its weekly backup. */
  readonly state: StateText;
  /** Unix milliseconds. */
  readonly clock: () => number;
  /** Calls back once after a delay; the result cancels it. */
  readonly timer: (callback: () => void, delayMs: number) => () => void;
  /** Uniform in [0, 1): spreads the runs of several instances. */
  readonly random: () => number;
  /** Told how each run ended; never throws. */
  readonly onEvent?: (event: UpkeepEvent) => void;
}

export type UpkeepEvent =
  | { readonly kind: 'done'; readonly job: string; readonly result: unknown; readonly tookMs: number }
  | { readonly kind: 'failed'; readonly job: string; readonly error: unknown };

/** How a job stands. Times are Unix seconds. */
export interface UpkeepStatus {
  readonly job: string;
  readonly every: number | null;
  readonly running: boolean;
  readonly progress: Progress | null;
  readonly last_started_at: number | null;
  readonly last_finished_at: number | null;
  readonly last_result: unknown;
  readonly last_error: string | null;
  readonly next_at: number | null;
}

/** The node's background jobs: on their schedules, or by hand. A job never runs twice at a time. */
export interface Upkeep {
  /** Reads when the jobs last ran, and schedules them; one that is overdue runs soon. */
  start(): Promise<void>;
  /** Gives up what runs and waits for it. */
  stop(): Promise<void>;
  /**
   * Runs a job now, or `work` in its place and under its name (a collection with another retention, say).
   * @throws IpeError `unavailable` while it runs already; whatever the job throws.
   */
  run<Result>(
    name: string,
    work?: (signal: AbortSignal, report: (progress: Progress) => void) => Promise<Result>,
    signal?: AbortSignal,
  ): Promise<Result>;
  status(): readonly UpkeepStatus[];
}

interface Entry {
  readonly job: UpkeepJob;
  running: Promise<unknown> | undefined;
  progress: Progress | null;
  startedMs: number | null;
  finishedMs: number | null;
  result: unknown;
  error: string | null;
  nextMs: number | null;
  cancel: (() => void) | undefined;
}

/** Timers of Node hold at most this much; longer waits are made of several. */
const longestWaitMs = 2 ** 31 - 1;

export function createUpkeep(options: UpkeepOptions): Upkeep {
  const { clock, timer, random, state } = options;
  const stopping = new AbortController();
  const entries = new Map<string, Entry>(
    options.jobs.map((job) => [
      job.name,
      {
        job,
        running: undefined,
        progress: null,
        startedMs: null,
        finishedMs: null,
        result: null,
        error: null,
        nextMs: null,
        cancel: undefined,
      },
    ]),
  );

  let saving: Promise<void> = Promise.resolve();
  const save = (): Promise<void> => {
    const finished = Object.fromEntries([...entries].map(([name, { finishedMs }]) => [name, finishedMs]));
    saving = saving.catch(() => {}).then(() => state.save(`${JSON.stringify({ version: 1, finished })}\n`));
    return saving;
  };

  const schedule = (entry: Entry): void => {
    entry.cancel?.();
    entry.cancel = undefined;
    const { everyMs } = entry.job;
    if (everyMs === undefined || stopping.signal.aborted) return;
    const due = entry.finishedMs === null ? clock() : entry.finishedMs + everyMs;
    // Overdue jobs wait a little, so that a start is not slowed by all of them at once.
    const waitMs = Math.max(due - clock(), Math.min(everyMs, 60_000)) * (0.9 + 0.2 * random());
    entry.nextMs = clock() + waitMs;
    const tick = (): void => {
      const leftMs = (entry.nextMs ?? 0) - clock();
      if (leftMs > 0) entry.cancel = timer(tick, Math.min(leftMs, longestWaitMs));
      else void run(entry.job.name).catch(() => {}); // told by `onEvent`
    };
    entry.cancel = timer(tick, Math.min(waitMs, longestWaitMs));
  };

  const find = (name: string): Entry => {
    const entry = entries.get(name);
    if (entry !== undefined) return entry;
    const close = nearest(name, entries.keys());
    throw new IpeError('not_found', `no job \`${name}\`${close === undefined ? '' : `; did you mean \`${close}\`?`}`);
  };

  const run: Upkeep['run'] = async <Result>(
    name: string,
    work?: (signal: AbortSignal, report: (progress: Progress) => void) => Promise<Result>,
    signal?: AbortSignal,
  ): Promise<Result> => {
    const entry = find(name);
    if (stopping.signal.aborted) throw new IpeError('unavailable', 'the node is stopping');
    if (entry.running !== undefined)
      throw new IpeError('unavailable', `\`${name}\` is running already; see \`status\` for how far it is`);
    entry.cancel?.();
    const started = clock();
    entry.startedMs = started;
    entry.progress = null;
    const both = signal === undefined ? stopping.signal : AbortSignal.any([stopping.signal, signal]);
    const report = (progress: Progress): void => {
      entry.progress = progress;
    };
    const running = (work ?? (entry.job.run as (...args: unknown[]) => Promise<Result>))(both, report);
    entry.running = running;
    try {
      const result = await running;
      entry.result = result;
      entry.error = null;
      options.onEvent?.({ kind: 'done', job: name, result, tookMs: clock() - started });
      return result;
    } catch (error) {
      entry.error = isIpeError(error) || error instanceof Error ? error.message : String(error);
      options.onEvent?.({ kind: 'failed', job: name, error });
      throw error;
    } finally {
      entry.running = undefined;
      entry.progress = null;
      entry.finishedMs = clock();
      // Work done in a job's place, such as a dry run, does not count as its run.
      if (work === undefined)
        await save().catch((error: unknown) => options.onEvent?.({ kind: 'failed', job: name, error }));
      schedule(entry);
    }
  };

  return {
    async start() {
      const text = await state.load();
      if (text !== undefined) {
        // Only times stand in it: where they are lost, jobs run early.
        const { finished = {} } = parse(text);
        for (const [name, ms] of Object.entries(finished)) {
          const entry = entries.get(name);
          if (entry !== undefined && typeof ms === 'number') entry.finishedMs = Math.min(ms, clock());
        }
      }
      for (const entry of entries.values()) schedule(entry);
    },
    async stop() {
      stopping.abort();
      for (const entry of entries.values()) entry.cancel?.();
      await Promise.allSettled([...entries.values()].map(({ running }) => running));
      await saving.catch(() => {});
    },
    run,
    status: () =>
      [...entries.values()].map((entry) => ({
        job: entry.job.name,
        every: entry.job.everyMs === undefined ? null : entry.job.everyMs / 1000,
        running: entry.running !== undefined,
        progress: entry.progress,
        last_started_at: entry.startedMs === null ? null : entry.startedMs / 1000,
        last_finished_at: entry.finishedMs === null ? null : entry.finishedMs / 1000,
        last_result: entry.result,
        last_error: entry.error,
        next_at: entry.nextMs === null || entry.running !== undefined ? null : entry.nextMs / 1000,
      })),
  };
}

function parse(text: string): { finished?: Readonly<Record<string, unknown>> } {
  try {
    return JSON.parse(text) as { finished?: Readonly<Record<string, unknown>> };
  } catch {
    return {};
  }
}
