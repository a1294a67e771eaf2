/** Wire types of the evaluation plane (API.md, "Evaluation plane methods"). */
import type { PolicyInfo, PolicyList } from './control.ts';
import type { Json } from './data.ts';

/** Who or what a request is about (AuthZEN 1.0 §5). */
export interface Party {
  readonly type: string;
  readonly id: string;
  readonly properties?: { readonly [name: string]: Json };
}

export interface Action {
  readonly name: string;
  readonly properties?: { readonly [name: string]: Json };
}

/** What is asked: may `subject` do `action` to `resource`? */
export interface AccessRequest {
  readonly subject: Party;
  readonly action: Action;
  readonly resource: Party;
  readonly context?: { readonly [name: string]: Json };
}

export interface EvaluateParams extends AccessRequest {
  /** A policy, or a directory: then every policy below it has a say and any deny denies. */
  readonly path: string;
  readonly receipt?: 'none' | 'plain' | 'signed' | 'full';
  /** Token of a write that the decision must have seen; waits up to a bound, else `unavailable`. */
  readonly fresh_as_of?: string;
  readonly explain?: boolean;
  /** Unix seconds; admin tokens only. */
  readonly now?: number;
  /** Root, commit or ref to decide at; admin tokens only. */
  readonly root?: string;
}

/** Why, for people (`message`) and machines (`reason`), and by which policy (`path`). */
export interface DecisionReason {
  readonly path: string;
  readonly reason?: string;
  readonly message: string;
}

/** What an expression gave: a value, or an error; neither where it was not evaluated. */
export interface Explained {
  /** The expression as CEL. */
  readonly expression: string;
  readonly value?: Json;
  readonly error?: string;
}

/** An expression of a policy with the parts that decided it. */
export interface ExplainedExpression extends Explained {
  /** Where it stands, such as `validations[0]`. */
  readonly label: string;
  readonly evaluated: boolean;
  readonly parts: readonly Explained[];
}

/** How every expression of every policy asked came out. */
export interface Explanation {
  readonly policies: readonly {
    readonly path: string;
    readonly outcome: string;
    readonly matchConditions: readonly ExplainedExpression[];
    readonly variables: readonly ExplainedExpression[];
    readonly validations: readonly ExplainedExpression[];
  }[];
}

export interface Decision {
  /** A deny is a decision, never an error. */
  readonly decision: 'allow' | 'deny' | 'not_applicable';
  readonly reasons: readonly DecisionReason[];
  readonly warnings: readonly DecisionReason[];
  readonly errors: readonly { readonly path: string; readonly message: string }[];
  /** Everything the decision depended on (DESIGN §5); absent or null with `receipt: "none"`. */
  readonly receipt?: Readonly<Record<string, unknown>> | null;
  readonly explain?: Explanation;
}

/** One answer of a batch; an evaluation that cannot be evaluated at all has `error` in place of a decision. */
export type BatchDecision = { readonly id: Json } & (
  | Decision
  | { readonly error: { readonly code: number; readonly message: string; readonly data?: unknown } }
);

/** Deciding again from a receipt: whether the same came of it, and what differs. */
export interface ReplayResult {
  readonly decision: Decision['decision'];
  readonly same: boolean;
  readonly differences: readonly unknown[];
  /** Whether facts came from the receipt, or from what is held now. */
  readonly facts: 'receipt' | 'held';
  readonly signature: 'none' | 'valid' | 'invalid' | 'unknown_key';
  /** The receipt of the new decision. */
  readonly receipt: Readonly<Record<string, unknown>>;
}

/** Every method of the evaluation plane that answers once. */
export interface EvaluationCalls {
  evaluate: { params: EvaluateParams; result: Decision };
  'evaluate-batch': {
    params: { evaluations: readonly (EvaluateParams & { id: Json })[] };
    result: { results: readonly BatchDecision[] };
  };
  'list-policies': { params: { prefix?: string; limit?: number; cursor?: string }; result: PolicyList };
  'get-policy': { params: { path: string }; result: PolicyInfo };
  replay: { params: { receipt: unknown; root?: string }; result: ReplayResult };
}
