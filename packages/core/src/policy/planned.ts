import type { Program } from './cel/index.ts';
import type { JsonObject } from './json.ts';
import type { EvaluationRequest } from './request.ts';

/** A policy ready to be asked: closures made once from its program, evaluated often. Immutable. */
export interface PlannedPolicy {
  /** Those with literal tests first; else in the document's order. */
  readonly matchConditions: readonly PlannedCondition[];
  /** By position in the document; `variables.<name>` runs at most once an evaluation. */
  readonly variables: readonly Program[];
  readonly variableNames: readonly string[];
  readonly validations: readonly PlannedValidation[];
  readonly params: JsonObject;
  /** Whether `Deny`, `Warn` and `Audit` stand among the actions. */
  readonly denies: boolean;
  readonly warns: boolean;
  readonly audits: boolean;
  /** `failurePolicy: Fail`. */
  readonly failsClosed: boolean;
  /** Data namespaces the policy can read, sorted. */
  readonly namespaces: readonly string[];
  readonly literalTests: LiteralTests;
}

export interface PlannedCondition {
  /** Where the expression stands, such as `matchConditions[0]`, with its name where it has one. */
  readonly label: string;
  readonly program: Program;
}

export interface PlannedValidation {
  /** Such as `validations[0]`. */
  readonly label: string;
  readonly program: Program;
  readonly reason: string;
  readonly message: string;
  readonly messageProgram: Program | null;
}

/**
 * What a request must literally have for the policy to apply at all, read off its match conditions; null where anything
 * will do. A request that fails one makes a match condition false, whatever else the condition says.
 */
export interface LiteralTests {
  readonly resourceType: ReadonlySet<string> | null;
  readonly actionName: ReadonlySet<string> | null;
  readonly subjectType: ReadonlySet<string> | null;
}

/** Whether a request passes a policy's literal tests. False: the policy is not applicable; true says nothing. */
export function passesLiteralTests(tests: LiteralTests, request: EvaluationRequest): boolean {
  return (
    (tests.resourceType === null || tests.resourceType.has(request.resource.type)) &&
    (tests.actionName === null || tests.actionName.has(request.action.name)) &&
    (tests.subjectType === null || tests.subjectType.has(request.subject.type))
  );
}
