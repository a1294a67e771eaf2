import { isReserved, type Strategy } from '@ipe/core/replica';
import type { NamespaceSettings } from './engine.ts';

/** The part of `[predicate_service.data_plane]` that describes namespaces, as read. */
export interface DataPlaneSettings {
  readonly conflict_strategy: Strategy['kind'];
  readonly resolver?: Resolver | undefined;
  readonly history_versions: number;
  /** Milliseconds. */
  readonly history_age: number;
  readonly namespaces: Readonly<
    Record<
      string,
      {
        readonly conflict_strategy?: Strategy['kind'] | undefined;
        readonly resolver?: Resolver | undefined;
        readonly history_versions?: number | undefined;
        readonly history_age?: number | undefined;
      }
    >
  >;
}

type Resolver = 'revoke-wins' | 'add-wins' | 'siblings' | 'remove-wins';

/** IPE's own facts: revocations win, a little history. */
const reservedSettings: NamespaceSettings = {
  strategy: { kind: 'version-vector', resolver: 'revoke-wins' },
  historyVersions: 2,
  historyAgeMs: 86_400_000,
};

/**
 * Settings of any namespace out of the configuration: its own, else the section's.
 * @example openEngine({ settingsOf: settingsFrom(config.predicate_service.data_plane), ... })
 */
export function settingsFrom(config: DataPlaneSettings): (namespace: string) => NamespaceSettings {
  const known = new Map<string, NamespaceSettings>();
  return (namespace) => {
    if (isReserved(namespace)) return reservedSettings;
    let settings = known.get(namespace);
    if (settings !== undefined) return settings;
    const own = Object.hasOwn(config.namespaces, namespace) ? config.namespaces[namespace]! : {};
    const kind = own.conflict_strategy ?? config.conflict_strategy;
    // A resolver goes with the strategy it was given beside.
    const resolver = own.resolver ?? (own.conflict_strategy === undefined ? config.resolver : undefined);
    settings = {
      strategy: strategyOf(kind, resolver),
      historyVersions: own.history_versions ?? config.history_versions,
      historyAgeMs: own.history_age ?? config.history_age,
    };
    if (known.size < 1024) known.set(namespace, settings);
    return settings;
  };
}

function strategyOf(kind: Strategy['kind'], resolver: Resolver | undefined): Strategy {
  switch (kind) {
    case 'version-vector':
      return { kind, resolver: resolver === undefined || resolver === 'remove-wins' ? 'revoke-wins' : resolver };
    case 'set':
      return { kind, resolver: resolver === 'remove-wins' ? 'remove-wins' : 'add-wins' };
    default:
      return { kind };
  }
}
