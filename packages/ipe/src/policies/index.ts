export { createPolicyCompiler } from './compiler.ts';
export { createNodeCompiler } from './node-compiler.ts';
export { faultsOf, problemJson, refuseFaulty, testJson, warningsOf } from './report.ts';
export { surroundingsOf } from './surroundings.ts';
export type {
  CompiledPolicy,
  CompileOptions,
  FileProblem,
  PolicyCompiler,
  PolicyText,
  ProgramAt,
  Surroundings,
  TestOutcome,
} from './types.ts';
