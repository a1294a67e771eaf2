export { assertDeepEqual, assertRejects, assertTrue } from './assert.ts';
export {
  checkConvergence,
  checkCounters,
  checkHistory,
  type RecordedAdd,
  type RecordedWrite,
  type Shown,
  type Views,
  type WriteOutcome,
} from './checkers.ts';
export { type KvConformanceOptions, type KvTestFamily, kvTestFamilies, runKvConformance } from './kv.ts';
export { type PlaneConformanceOptions, type PlaneFixture, runPlaneConformance } from './plane.ts';
export {
  type Action,
  drawPlan,
  type Mutant,
  mutants,
  type Plan,
  type SimulationResult,
  shrink,
  simulate,
} from './simulator/index.ts';
export { Random } from './simulator/random.ts';
export { runTreeConformance, type TreeCaseContext, type TreeConformanceOptions } from './tree.ts';
export {
  assertTold,
  type Damage,
  type DamageCheck,
  type DamageOutcome,
  damageCheck,
  flippedBits,
  type StoredRow,
} from './tree-damage.ts';
export { type TreeFixture, type TreeRuntime, treeFixture } from './tree-fixture.ts';
