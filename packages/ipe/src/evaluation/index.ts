export { type CitedRoots, openCitedRoots } from './cited-roots.ts';
export {
  createDecisionLog,
  type DecisionLog,
  type DecisionLogReport,
  verifyDecisionLog,
} from './decision-log.ts';
export { createEvaluationService, type EvaluationService, type EvaluationServiceOptions } from './service.ts';
export {
  defaultEvaluationConfig,
  type EvaluationConfig,
  type FactPage,
  type FactsSource,
  type FactVersion,
} from './types.ts';
