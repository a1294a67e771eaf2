import type { MessagePlane } from '@ipe/core/plane';
import type { Peers } from '../cluster/peers.ts';

/** The part of the configuration that chooses a message plane. */
export interface PlaneSettings {
  readonly message_plane: 'memory' | 'pubsub' | 'gossip' | 'hybrid';
  readonly pubsub_url?: string | undefined;
  readonly pubsub_tls_ca?: string | undefined;
  readonly pubsub_tls_cert?: string | undefined;
  readonly pubsub_tls_key?: string | undefined;
  readonly pubsub_credentials?: string | undefined;
}

/**
 * Opens the configured message plane; broker clients are loaded when it starts. Undefined for `memory`, which has
 * nobody to talk to: a cluster without a plane lives by anti-entropy alone.
 */
export async function openPlane(
  settings: PlaneSettings,
  peers: Peers,
  instanceId: string,
): Promise<MessagePlane | undefined> {
  if (settings.message_plane === 'memory') return undefined;
  const { openGossipPlane } = await import('./gossip/plane.ts');
  if (settings.message_plane === 'gossip') return openGossipPlane({ peers });
  const broker = await openBroker(settings, instanceId);
  if (settings.message_plane === 'pubsub') return broker;
  const { openHybridPlane } = await import('./hybrid/plane.ts');
  return openHybridPlane(broker, openGossipPlane({ peers }));
}

async function openBroker(settings: PlaneSettings, instanceId: string): Promise<MessagePlane> {
  const url = settings.pubsub_url!;
  const tls = tlsOf(settings);
  const scheme = url.slice(0, url.indexOf(':'));
  if (scheme === 'redis' || scheme === 'rediss') {
    const { openRedisPlane } = await import('./redis/plane.ts');
    return openRedisPlane({ url, ...(tls && { tls }) });
  }
  if (scheme === 'kafka' || scheme === 'kafkas') {
    const { openKafkaPlane } = await import('./kafka/plane.ts');
    return openKafkaPlane({ url, groupId: instanceId, ...(tls && { tls }) });
  }
  const { openNatsPlane } = await import('./nats/plane.ts');
  const credentialsFile = settings.pubsub_credentials;
  return openNatsPlane({ url, ...(tls && { tls }), ...(credentialsFile !== undefined && { credentialsFile }) });
}

function tlsOf({ pubsub_tls_ca: caFile, pubsub_tls_cert: certFile, pubsub_tls_key: keyFile }: PlaneSettings) {
  if (caFile === undefined && certFile === undefined && keyFile === undefined) return undefined;
  return {
    ...(caFile !== undefined && { caFile }),
    ...(certFile !== undefined && { certFile }),
    ...(keyFile !== undefined && { keyFile }),
  };
}
