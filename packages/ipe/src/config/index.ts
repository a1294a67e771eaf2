export { type ConfigCheck, type ConfigInput, checkConfig, jsonSchema, loadConfig } from './load.ts';
export { configReference, printConfig } from './print.ts';
export { type ConfigProblem, renderProblem } from './problems.ts';
export type { Config } from './schema.ts';
export type { ConfigSource } from './sources.ts';
export { parseDuration, parseSize } from './units.ts';
