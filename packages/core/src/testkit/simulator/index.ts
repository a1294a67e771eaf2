export { type Mutant, mutants } from './mutants.ts';
export { type SimulationOptions, type SimulationResult, simulate } from './simulation.ts';
