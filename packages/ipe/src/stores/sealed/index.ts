export { dataLayouts } from './data-layouts.ts';
export { Keyring, readMasterKey } from './keyring.ts';
export type { KeyLayout } from './layout.ts';
export type { ResealProgress } from './reseal.ts';
export { type SealedKv, type SealedKvOptions, sealKv } from './sealed.ts';
