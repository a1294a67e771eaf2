export {
  type FailurePolicy,
  failurePolicies,
  type MatchCondition,
  type PolicyDocument,
  parsePolicyDocument,
  type Validation,
  type ValidationAction,
  type Variable,
  validationActions,
} from './document.ts';
export { isJsonObject, type Json, type JsonObject } from './json.ts';
export { hasErrors, type Problem, renderProblem, sortProblems } from './problem.ts';
export { yamlLimits } from './yaml-source.ts';
