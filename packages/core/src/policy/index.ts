export {
  Activation,
  CelError,
  children,
  defaultLimits as expressionLimits,
  defaultStepBudget,
  type Expression,
  type FactReader,
  formatNode,
  type Node,
  type Observer,
  type Program,
  Timestamp,
  toJson,
  Unknowns,
} from './cel/index.ts';
export {
  type CompiledPolicy,
  type CompilePolicyOptions,
  type CompileResult,
  compilePolicy,
  isCompiledFrom,
} from './compile.ts';
export { CoverageCollector, type CoverageOutcome, type CoverageReport, type UncoveredPart } from './coverage.ts';
export {
  type FailurePolicy,
  failurePolicies,
  listLengthMax,
  type MatchCondition,
  type PolicyDocument,
  parsePolicyDocument,
  type Validation,
  type ValidationAction,
  type Variable,
  validationActions,
} from './document.ts';
export { isJsonObject, type Json, type JsonObject } from './json.ts';
export { languageVersion } from './language.ts';
export { bothTests, hasLiteralTest, literalTests, noLiteralTests } from './literal-tests.ts';
export { defaultReason, type ObservedPolicy, planObservedPolicy, planPolicy } from './plan.ts';
export {
  type LiteralTests,
  type PlannedCondition,
  type PlannedPolicy,
  type PlannedValidation,
  passesLiteralTests,
} from './planned.ts';
export { hasErrors, type Problem, renderProblem, sortProblems } from './problem.ts';
export { decodeProgram, encodeProgram, type PolicyProgram, programTests } from './program.ts';
export {
  type Action,
  type Entity,
  type EvaluationRequest,
  type ReadRequest,
  type RequestLimits,
  type RequestProblem,
  readRequest,
  requestLimits,
} from './request.ts';
export {
  type Decision,
  decisions,
  type Expectation,
  type PolicyTest,
  parseTestDocument,
  type TestDocument,
} from './test-document.ts';
export { formatTimestamp, parseTimestamp } from './timestamp.ts';
export { yamlLimits } from './yaml-source.ts';
