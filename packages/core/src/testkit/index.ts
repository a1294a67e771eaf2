export { assertDeepEqual, assertRejects, assertTrue } from './assert.ts';
export { type KvConformanceOptions, type KvTestFamily, kvTestFamilies, runKvConformance } from './kv.ts';
