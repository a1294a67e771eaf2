export type {
  CallContext,
  Caller,
  Handler,
  Handlers,
  PlaneService,
  Route,
  RouteRequest,
  RouteResponse,
  Session,
} from './api/method.ts';
export * from './config/index.ts';
export { type NodeOptions, type RunningNode, runUntilSignal, startNode } from './node/start.ts';
