import { IpeError } from '@ipe/core';
import type { Facts } from '@ipe/core/eval';
import { type EvaluationRequest, type JsonObject, readRequest } from '@ipe/core/policy';
import type { PolicySnapshot, PolicyStore } from '@ipe/core/tree';
import type { Answer, Evaluator } from './evaluator.ts';
import { released } from './released.ts';
import type { EvaluationConfig, FactsSource } from './types.ts';

export interface AuthzenOptions {
  readonly policies: Pick<PolicyStore, 'current'>;
  readonly facts: FactsSource;
  readonly evaluator: Evaluator;
  readonly config: EvaluationConfig;
  readonly nowSeconds: () => number;
}

/** One root, one view of the facts and one time, for all that a request asks. */
export interface AuthzenView {
  readonly snapshot: PolicySnapshot;
  readonly facts: Facts;
  readonly now: number;
}

/** A decision as AuthZEN has it: true only for allow. */
export interface AuthzenDecision {
  readonly decision: boolean;
  readonly context?: JsonObject;
}

/** Asks what the configuration says about one request. No such path: false. */
export async function ask(
  options: AuthzenOptions,
  view: AuthzenView,
  request: EvaluationRequest,
): Promise<AuthzenDecision> {
  const path = pathFor(options.config.authzenPath, request);
  if (path === undefined) return notThere;
  const { evaluator } = options;
  const answer = await evaluator.answerIfThere({ ...view, path, request, receipt: 'none' });
  return answer === undefined ? notThere : decisionOf(answer);
}

const notThere: AuthzenDecision = {
  decision: false,
  context: { reason: 'no_policy', ipe: { decision: 'not_applicable', reasons: [] } },
};

function decisionOf(answer: Answer): AuthzenDecision {
  if (answer.decision === 'allow') return { decision: true };
  const { decision, reasons, errors } = answer;
  const reason = reasons[0]?.reason ?? decision;
  const ipe = { decision, reasons, ...(errors.length === 0 ? {} : { errors }) } as unknown as JsonObject;
  return { decision: false, context: { reason, ipe } };
}

const segment = /^[a-z0-9][a-z0-9_-]{0,63}$/;

/** The path that a template names for a request; undefined where a value is no name a path could have. */
export function pathFor(template: string, request: EvaluationRequest): string | undefined {
  const values = { '{resource.type}': request.resource.type, '{action.name}': request.action.name };
  let path = template;
  for (const [variable, value] of Object.entries(values)) {
    if (!path.includes(variable)) continue;
    if (!segment.test(value)) return undefined;
    path = path.replaceAll(variable, value);
  }
  return path;
}

/** Runs `use` on one root, one view and one time. */
export function withView<T>(options: AuthzenOptions, use: (view: AuthzenView) => T | Promise<T>): T | Promise<T> {
  const now = options.nowSeconds();
  const snapshot = options.policies.current();
  return released(options.facts.open(now * 1000), (facts) => use({ snapshot, facts, now }));
}

/** Asks answered before other work gets its turn. */
export const asksPerTick = 64;

/** From here on the view shows the facts of this moment, over any number of ticks. */
export function standStill(view: AuthzenView): Promise<void> {
  return view.facts.load([]);
}

/** The request that a body asks. @throws IpeError `invalid_params`, `too_large` */
export function requestOf(body: JsonObject): EvaluationRequest {
  const read = readRequest(body);
  if (read.ok) return read.request;
  const { kind, field, message } = read.problem;
  throw new IpeError(kind === 'too_large' ? 'too_large' : 'invalid_params', message, { details: { field } });
}

/** A refusal that names the field. */
export function invalid(field: string, message: string): IpeError {
  return new IpeError('invalid_params', message, { details: { field } });
}
