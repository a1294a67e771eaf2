export {
  createDecisionLog,
  type DecisionLog,
  type DecisionLogMode,
  type DecisionLogReport,
  decisionLogModes,
  verifyDecisionLog,
} from './decision-log.ts';
export type { Answer, DecisionRecord, Evaluator, Question } from './evaluator.ts';
export type { ReceiptVerifier } from './replay.ts';
export { createEvaluationService, type EvaluationService, type EvaluationServiceOptions } from './service.ts';
export {
  defaultEvaluationConfig,
  type EvaluationConfig,
  type FactPage,
  type FactsSource,
  type SearchSource,
} from './types.ts';
