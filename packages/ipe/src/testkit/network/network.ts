import { openNamespaceNetwork } from './namespaces.ts';
import { openProxyNetwork } from './proxies.ts';

/** Where the processes of one member, or of the broker, run: what they can reach is in the test's hands. */
export interface Place {
  readonly name: string;
  /** Address that processes of this place listen on. */
  readonly host: string;
  /** The command that runs a command in this place. */
  wrap(command: readonly string[]): readonly string[];
  /** Tells that a process runs here: a network that tells places by their processes needs to know. */
  owns(pid: number): void;
}

/**
 * A network between processes of this machine whose paths can be cut one way. What is under way when a path is cut
 * waits, as it would for a router to come back, and goes on when it is mended: nobody is told of either.
 */
export interface TestNetwork {
  readonly kind: 'namespaces' | 'proxies';
  /** Makes a place. */
  place(name: string): Promise<Place>;
  /**
   * Opens a way to a listener of a place.
   * @returns `host:port` that all other places, and the test itself, reach it at
   */
  expose(place: Place, port: number): Promise<string>;
  /** Lets nothing pass from one place to another. */
  cut(from: Place, to: Place): void;
  mend(from: Place, to: Place): void;
  /** Bytes that a place has sent to others so far, what the kernel adds to them included where it tells. */
  sentBytes(place: Place): number;
  close(): Promise<void>;
}

/**
 * A network of kernel namespaces where this user may make them, else of proxies of our own on loopback.
 * @param kind asks for one of the two, whatever is possible
 */
export async function openTestNetwork(kind?: TestNetwork['kind']): Promise<TestNetwork> {
  if (kind !== 'proxies') {
    try {
      return await openNamespaceNetwork();
    } catch (error) {
      if (kind === 'namespaces') throw error;
    }
  }
  return openProxyNetwork();
}

/** Cuts both ways between a place and others. */
export function partition(network: TestNetwork, place: Place, others: readonly Place[]): void {
  for (const other of others) {
    network.cut(place, other);
    network.cut(other, place);
  }
}

/** Mends all ways between a place and others. */
export function rejoin(network: TestNetwork, place: Place, others: readonly Place[]): void {
  for (const other of others) {
    network.mend(place, other);
    network.mend(other, place);
  }
}
