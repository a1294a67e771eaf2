import { resolve } from 'node:path';
import type { ApiLimits } from '../api/limits.ts';
import type { Config } from '../config/index.ts';
import type { WriteRules } from '../security/authenticator.ts';

/** `[limits]` as the doors take them. */
export function limitsOf({ limits }: Config): ApiLimits {
  return {
    maxBodyBytes: limits.max_body_bytes,
    maxDepth: limits.max_depth,
    maxBatch: limits.max_batch,
    maxConnections: limits.max_connections,
    maxInFlight: limits.max_in_flight,
    requestsPerSecond: limits.requests_per_second,
    headerTimeoutMs: limits.header_timeout,
    bodyTimeoutMs: limits.body_timeout,
    stallTimeoutMs: limits.stall_timeout,
    drainTimeoutMs: limits.drain_timeout,
  };
}

/** `[data_plane.auth]` and `[data_plane.security]` as the tokens are judged by. */
export function writeRulesOf({ data_plane: { auth, security } }: Config): WriteRules {
  const namespaceAuth = security.namespace_auth?.map(
    ({ namespace, writers }) => [namespace.replace(/\.\*$/, ''), new Set(writers)] as const,
  );
  return {
    enforceNamespaces: security.enforce_namespaces,
    ...(auth.allowed_writers === undefined ? {} : { allowedWriters: auth.allowed_writers }),
    ...(namespaceAuth === undefined ? {} : { namespaceAuth: new Map(namespaceAuth) }),
  };
}

/** Where one plane listens. */
export interface PlaneListening {
  readonly socket: string;
  /** Permissions of the socket file. */
  readonly mode: number;
  readonly requireAuth: boolean;
  readonly tcp?: { readonly address: string; readonly cert: string; readonly key: string; readonly clientCa?: string };
}

/** Sockets and listeners of the three planes; relative paths start at `root`. */
export function listeningOf(
  config: Config,
  root: string,
  sockets: { control: string; data: string; evaluation: string },
) {
  const one = (
    plane: Config['control_plane'] | Config['evaluation_plane'] | Config['predicate_service']['data_plane'],
    socket: string,
    mode: number,
    requireAuth: boolean,
  ): PlaneListening => ({
    socket: plane.socket === undefined ? socket : resolve(root, plane.socket),
    mode,
    requireAuth,
    ...(plane.listen === undefined
      ? {}
      : {
          tcp: {
            address: plane.listen,
            cert: resolve(root, plane.tls_cert!),
            key: resolve(root, plane.tls_key!),
            ...(plane.tls_client_ca === undefined ? {} : { clientCa: resolve(root, plane.tls_client_ca) }),
          },
        }),
  });
  return {
    control: one(config.control_plane, sockets.control, 0o600, config.control_plane.require_auth),
    data: one(config.predicate_service.data_plane, sockets.data, 0o660, config.data_plane.auth.require_auth),
    evaluation: one(config.evaluation_plane, sockets.evaluation, 0o660, config.evaluation_plane.require_auth),
  };
}
