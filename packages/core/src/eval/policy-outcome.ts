import {
  Activation,
  CelError,
  type Observer,
  type PlannedPolicy,
  type PlannedValidation,
  type Program,
  passesLiteralTests,
  type Timestamp,
  Unknowns,
} from '../policy/index.ts';
import type { EvaluationRequest } from '../policy/request.ts';
import type { RecordingFacts } from './facts.ts';

/** What a policy said about a request. Without `Deny` among its actions it never decides: it passes, warns or audits. */
export type PolicyVerdict = 'allow' | 'deny' | 'not_applicable' | 'pass' | 'warn' | 'audit';

/** A validation that did not hold, or an evaluation that failed closed. */
export interface Violation {
  readonly reason: string;
  readonly message: string;
}

/** An expression that could not be evaluated. */
export interface Fault {
  /** Where it stands in the document, such as `validations[0]`. */
  readonly expression: string;
  /** Stable name of the failure, such as `no_such_key`. */
  readonly reason: string;
  readonly message: string;
}

export interface PolicyOutcome {
  readonly verdict: PolicyVerdict;
  readonly violations: readonly Violation[];
  readonly faults: readonly Fault[];
}

/** Everything one policy is evaluated against. */
export interface PolicyInput {
  readonly policy: PlannedPolicy;
  readonly request: EvaluationRequest;
  readonly now: Timestamp;
  readonly facts: RecordingFacts;
  readonly stepBudget: number;
  readonly observer: Observer | null;
}

const notApplicable: PolicyOutcome = Object.freeze({ verdict: 'not_applicable', violations: [], faults: [] });
const allowed: PolicyOutcome = Object.freeze({ verdict: 'allow', violations: [], faults: [] });
const passed: PolicyOutcome = Object.freeze({ verdict: 'pass', violations: [], faults: [] });

/** Reason of a refusal that stems from an error under `failurePolicy: Fail`. */
export const evaluationErrorReason = 'evaluation_error';

/**
 * Asks one policy.
 *
 * Any false match condition makes it not applicable, even if another errors. Validations: any false violates; else any
 * error follows the failure policy; else it holds. Every validation is evaluated, so that all reasons are told. The
 * outcome means nothing when `input.facts.cold` has grown: load and ask again.
 *
 * @returns the outcome and the steps taken
 * Source: DESIGN §3; Kubernetes ValidatingAdmissionPolicy for the order of match conditions and failure policy.
 */
export function evaluatePolicy(input: PolicyInput): { outcome: PolicyOutcome; stepsLeft: number } {
  const { policy, request } = input;
  // An observed evaluation is for explaining, so its conditions are evaluated even where the test tells the answer.
  if (input.observer === null && !passesLiteralTests(policy.literalTests, request))
    return { outcome: notApplicable, stepsLeft: input.stepBudget };
  const roots = [request.subject, request.action, request.resource, request.context, policy.params, input.now];
  const activation = new Activation(roots, input.facts, policy.variables, input.stepBudget, input.observer);
  return { outcome: outcomeOf(policy, activation), stepsLeft: activation.stepsLeft };
}

function outcomeOf(policy: PlannedPolicy, activation: Activation): PolicyOutcome {
  const faults: Fault[] = [];
  for (const { label, program } of policy.matchConditions)
    if (holds(program, label, activation, faults) === false) return notApplicable;
  if (faults.length > 0) return failed(policy, faults);
  const violations: Violation[] = [];
  for (const validation of policy.validations)
    if (holds(validation.program, validation.label, activation, faults) === false)
      violations.push({ reason: validation.reason, message: messageOf(validation, activation) });
  if (violations.length > 0) return violated(policy, violations, faults);
  if (faults.length > 0) return failed(policy, faults);
  return policy.denies ? allowed : passed;
}

/** The boolean an expression gives; undefined where it failed (told in `faults`) or waits for cold facts. */
function holds(program: Program, label: string, activation: Activation, faults: Fault[]): boolean | undefined {
  const value = program.evaluate(activation);
  if (typeof value === 'boolean') return value;
  if (value instanceof Unknowns) return undefined;
  faults.push(
    value instanceof CelError
      ? { expression: label, reason: value.reason, message: value.message }
      : { expression: label, reason: 'not_a_boolean', message: 'the expression did not give true or false' },
  );
  return undefined;
}

function failed(policy: PlannedPolicy, faults: readonly Fault[]): PolicyOutcome {
  if (!policy.failsClosed) return { verdict: 'not_applicable', violations: [], faults };
  const [first] = faults;
  const message = `could not be evaluated: ${first!.message} (${first!.expression})`;
  return violated(policy, [{ reason: evaluationErrorReason, message }], faults);
}

function violated(policy: PlannedPolicy, violations: readonly Violation[], faults: readonly Fault[]): PolicyOutcome {
  const verdict = policy.denies ? 'deny' : policy.warns ? 'warn' : 'audit';
  return { verdict, violations, faults };
}

/** Longest message of a violation, in UTF-16 code units. */
export const messageLengthMax = 2_048;

/** What the message expression gives, or the fixed message where that is broken, empty or not text. */
function messageOf(validation: PlannedValidation, activation: Activation): string {
  if (validation.messageProgram === null) return validation.message;
  const value = validation.messageProgram.evaluate(activation);
  if (typeof value !== 'string' || value.trim() === '') return validation.message;
  if (value.length <= messageLengthMax) return value;
  return `${value.slice(0, messageLengthMax - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
