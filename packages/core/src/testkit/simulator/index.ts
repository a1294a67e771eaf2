export { drawPlan } from './draw.ts';
export { type Mutant, mutants } from './mutants.ts';
export type { Action, Plan } from './plan.ts';
export { shrink } from './shrink.ts';
export { type SimulationResult, simulate } from './simulation.ts';
