import { setImmediate } from 'node:timers/promises';
import { isIpeError } from '@ipe/core';
import type { Primitives } from '@ipe/core/bytes';
import type { Facts, ReceiptSigner } from '@ipe/core/eval';
import type { LruCounters, PolicySnapshot, PolicyStore } from '@ipe/core/tree';
import type { CallContext, Handlers, PlaneService } from '../api/method.ts';
import { readParams } from '../api/params.ts';
import { errorBody, type ReportInternal } from '../api/problem.ts';
import { authzenRoutes } from './authzen.ts';
import { type Answer, type DecisionRecord, Evaluator } from './evaluator.ts';
import { policyMethods } from './policy-methods.ts';
import { PolicyReader } from './policy-reader.ts';
import { released } from './released.ts';
import { type ReceiptVerifier, replayMethod } from './replay.ts';
import { type Ask, readAsk } from './requests.ts';
import { decisionWatches } from './subscriptions.ts';
import type { EvaluationConfig, FactsSource } from './types.ts';

export interface EvaluationServiceOptions {
  /** Read only: `current`, `at`, `watch`. */
  readonly policies: Pick<PolicyStore, 'current' | 'at' | 'watch'>;
  readonly facts: FactsSource;
  readonly primitives: Primitives;
  /** Unix milliseconds, perhaps fractional. */
  readonly clock: () => number;
  /** Milliseconds on a clock that never goes back, for the ages of caches. */
  readonly monotonic: () => number;
  readonly newId: () => string;
  readonly config: EvaluationConfig;
  /** Version of the program, and the instance's name. */
  readonly version: string;
  readonly instance: string;
  /** Signs receipts; absent: `signed` ones are refused. */
  readonly signer?: ReceiptSigner;
  /** Checks signatures of receipts that are replayed. */
  readonly verifier?: ReceiptVerifier;
  /** Whether policies came from a peer: their programs are then compiled again before their first use. */
  readonly verifyPrograms?: boolean;
  /** Told of every decision, synchronously: must be quick and must not throw. */
  readonly onDecision?: (record: DecisionRecord) => void;
  /** Told of bugs met inside a batch, where one item's failure does not fail the others. */
  readonly reportInternal?: ReportInternal;
  /** What is missing before decisions can be made, such as namespaces still loading. */
  readonly missing?: () => readonly string[];
}

export interface EvaluationService extends PlaneService {
  /** Counters of the planned policies. */
  counters(): LruCounters;
  /** Decides in process, with everything the wire would check already checked. */
  readonly evaluator: Evaluator;
  /** Ends subscriptions. Store and facts belong to the caller. */
  close(): void;
}

/**
 * The evaluation plane: decisions over one policy store and one source of facts, as JSON-RPC methods and as AuthZEN 1.0.
 *
 * Every request reads one root and one view of the facts. Owns its caches and subscriptions, nothing else.
 */
export function createEvaluationService(options: EvaluationServiceOptions): EvaluationService {
  const { policies, facts, config, clock, primitives } = options;
  const reader = new PolicyReader({
    primitives,
    cacheBytes: config.policyCacheBytes,
    cacheAgeMs: config.policyCacheAgeMs,
    now: options.monotonic,
    verifyPrograms: options.verifyPrograms ?? false,
  });
  const evaluator = new Evaluator({
    reader,
    primitives,
    policyStepsMax: config.maxCost,
    newId: options.newId,
    engine: options.version,
    instance: options.instance,
    ...(options.signer === undefined ? {} : { signer: options.signer }),
    ...(options.onDecision === undefined ? {} : { onDecision: options.onDecision }),
  });
  const watches = decisionWatches(policies, options.newId);
  const nowSeconds = () => clock() / 1000;
  const report: ReportInternal = options.reportInternal ?? (() => {});

  const answer = (ask: Ask, snapshot: PolicySnapshot, view: Facts, now: number): Answer | Promise<Answer> =>
    evaluator.answer({
      snapshot,
      path: ask.path,
      request: ask.request,
      facts: view,
      now,
      receipt: ask.receipt ?? config.receipt,
      explain: ask.explain,
    });

  /** Opens a view as of the request's own time. */
  const answerAlone = (ask: Ask, snapshot: PolicySnapshot): Answer | Promise<Answer> => {
    const now = ask.now ?? nowSeconds();
    return released(facts.open(now * 1000), (view) => answer(ask, snapshot, view, now));
  };

  const evaluate = (params: unknown, context: CallContext): unknown => {
    const ask = readAsk(params, context.caller);
    if (ask.root === undefined && ask.freshAsOf === undefined) return answerAlone(ask, policies.current());
    return evaluateAsked(ask, context);
  };

  const evaluateAsked = async (ask: Ask, context: CallContext): Promise<Answer> => {
    const snapshot = ask.root === undefined ? undefined : await policies.at(ask.root);
    if (ask.freshAsOf !== undefined) await facts.freshAsOf(ask.freshAsOf, config.freshWaitMs, context.signal);
    return answerAlone(ask, snapshot ?? policies.current());
  };

  const evaluateBatch = async (params: unknown, context: CallContext): Promise<unknown> => {
    const fields = readParams(params, ['evaluations']);
    const items = fields.array('evaluations', config.batchMax, (item, where) => ({
      id: typeof item === 'object' && item !== null && 'id' in item ? item.id : null,
      ask: attempt(() => readAsk(item, context.caller, where)),
    }));
    const tokens = new Set(items.map(({ ask }) => ('value' in ask ? ask.value.freshAsOf : undefined)));
    for (const token of tokens)
      if (token !== undefined) await facts.freshAsOf(token, config.freshWaitMs, context.signal);
    const current = policies.current();
    const now = nowSeconds();
    return released(facts.open(now * 1000), async (view) => {
      // Items are answered over several ticks: from here on all of them see the facts of this one.
      await view.load([]);
      const results: unknown[] = [];
      for (const { id, ask } of items) {
        if (results.length % itemsPerTick === itemsPerTick - 1) await setImmediate();
        try {
          if ('error' in ask) throw ask.error;
          const snapshot = ask.value.root === undefined ? current : await policies.at(ask.value.root);
          // An item with a time of its own sees the facts of that time; all others see the same ones.
          const own = ask.value.now !== undefined;
          results.push({
            id,
            ...(await (own ? answerAlone(ask.value, snapshot) : answer(ask.value, snapshot, view, now))),
          });
        } catch (error) {
          results.push({ id, error: errorBody(error, report) });
        }
      }
      return { results };
    });
  };

  const handlers: Handlers = {
    evaluate,
    'evaluate-batch': evaluateBatch,
    ...policyMethods(policies),
    replay: replayMethod({
      policies,
      facts,
      reader,
      primitives,
      config,
      ...(options.verifier === undefined ? {} : { verifier: options.verifier }),
    }),
    ...watches.handlers,
  };

  return {
    plane: 'evaluation',
    handlers,
    routes: authzenRoutes({ policies, facts, evaluator, config, nowSeconds }),
    missing: options.missing ?? (() => []),
    counters: () => reader.counters,
    evaluator,
    close: watches.close,
  };
}

/** Items of a batch answered before other work gets its turn. */
const itemsPerTick = 64;

function attempt<T>(read: () => T): { readonly value: T } | { readonly error: unknown } {
  try {
    return { value: read() };
  } catch (error) {
    if (!isIpeError(error)) throw error;
    return { error };
  }
}
