export { type Client, type ClientSession, createClient, type Planes } from './client.ts';
export type { ControlPlane, PolicyEvent } from './control.ts';
export type { DataPlane, DataWatchOptions, WriteOptions } from './data.ts';
export { type ClientReason, IpeClientError, isIpeClientError } from './errors.ts';
export type { EvaluationPlane } from './evaluation.ts';
export type { CallOptions, ClientOptions, TlsOptions } from './options.ts';
export * from './protocol/index.ts';
export type { Notification, SessionOptions } from './session.ts';
export type { WatchOptions } from './subscription.ts';
