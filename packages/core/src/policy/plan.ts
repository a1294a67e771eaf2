import type { Primitives } from '../bytes/index.ts';
import {
  type Declaration,
  dyn,
  type Environment,
  type Expression,
  formatExpression,
  type Program,
  planExpression,
  policyEnvironment,
} from './cel/index.ts';
import { bothTests, hasLiteralTest, literalTests, noLiteralTests } from './literal-tests.ts';
import type { PlannedPolicy } from './planned.ts';
import { decodeProgram, type PolicyProgram } from './program.ts';

/** Reason of a violation whose validation names none. */
export const defaultReason = 'validation_failed';

/** A policy planned to tell every value on the way, with the expressions its programs were made from. */
export interface ObservedPolicy extends PlannedPolicy {
  readonly expressions: ReadonlyMap<Program, Expression>;
}

/**
 * The policy that a program describes, ready to be asked. Plan once per program id.
 *
 * @throws IpeError `corrupt` when the bytes are no program of this language version
 */
export function planPolicy(bytes: Uint8Array, primitives: Primitives): PlannedPolicy {
  return plan(decodeProgram(bytes, primitives), false);
}

/** The same, reporting the value of every sub-expression to the observer of its activation: slower, for explaining and coverage. */
export function planObservedPolicy(bytes: Uint8Array, primitives: Primitives): ObservedPolicy {
  return plan(decodeProgram(bytes, primitives), true);
}

function plan(program: PolicyProgram, observe: boolean): ObservedPolicy {
  const expressions = new Map<Program, Expression>();
  const declarations: readonly Declaration[] = program.variables.map(({ name }) => ({ name, type: dyn }));
  const environment = (count: number): Environment =>
    policyEnvironment({ params: program.params, variables: declarations.slice(0, count) });
  const all = environment(declarations.length);
  const planned = (expression: Expression, label: string, env: Environment = all): Program => {
    const made = planExpression(expression, env, { label, observe });
    expressions.set(made, expression);
    return made;
  };
  const variables = program.variables.map(({ name, expression }, i) =>
    planned(expression, `variables.${name}`, environment(i)),
  );
  const conditions = program.matchConditions.map(({ name, expression }, i) => {
    const label = name === undefined ? `matchConditions[${i}]` : `matchConditions[${i}] (${name})`;
    return { label, program: planned(expression, label), tests: literalTests(expression.root) };
  });
  const validations = program.validations.map(({ expression, message, messageExpression, reason }, i) => ({
    label: `validations[${i}]`,
    program: planned(expression, `validations[${i}]`),
    reason: reason ?? defaultReason,
    message: message ?? `does not hold: ${formatExpression(expression)}`,
    messageProgram:
      messageExpression === undefined ? null : planned(messageExpression, `validations[${i}].messageExpression`),
  }));
  return {
    matchConditions: [
      ...conditions.filter((c) => hasLiteralTest(c.tests)),
      ...conditions.filter((c) => !hasLiteralTest(c.tests)),
    ],
    variables,
    variableNames: program.variables.map(({ name }) => name),
    validations,
    params: program.params,
    denies: program.validationActions.includes('Deny'),
    warns: program.validationActions.includes('Warn'),
    audits: program.validationActions.includes('Audit'),
    failsClosed: program.failurePolicy === 'Fail',
    namespaces: program.namespaces,
    literalTests: conditions.map(({ tests }) => tests).reduce(bothTests, noLiteralTests),
    expressions,
  };
}
