import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import type { Place, TestNetwork } from './network.ts';

/**
 * Places as network namespaces of the kernel, each with a cable (veth) to a router, a namespace too. A path is cut by a
 * rule of the router that drops what comes from one address for another, so neither end is told; and this process has
 * a cable of its own to it.
 * @throws Error where this user may not make namespaces
 */
export async function openNamespaceNetwork(): Promise<TestNetwork> {
  const network = new NamespaceNetwork();
  try {
    network.open();
  } catch (error) {
    await network.close();
    throw error;
  }
  return network;
}

class NamespaceNetwork implements TestNetwork {
  readonly kind = 'namespaces';
  readonly #id = randomInt(0x1000, 0xffff).toString(16);
  /** A corner of 10/8 that is hardly anybody's. */
  readonly #subnet = `10.${randomInt(200, 250)}.${randomInt(1, 250)}`;
  readonly #router = `ipe${this.#id}r`;
  readonly #namespaces: string[] = [];
  readonly #cuts = new Set<string>();

  open(): void {
    const [outside, inside] = [`ipe${this.#id}o`, `ipe${this.#id}i`];
    this.#addNamespace(this.#router);
    sh(`
      ip link add ${outside} type veth peer name ${inside} netns ${this.#router}
      ip addr add ${this.#subnet}.253/32 dev ${outside}
      ip link set ${outside} up
      ip route add ${this.#subnet}.254 dev ${outside}
      ip route add ${this.#subnet}.0/24 via ${this.#subnet}.254 src ${this.#subnet}.253
      ip -n ${this.#router} addr add ${this.#subnet}.254/32 dev ${inside}
      ip -n ${this.#router} link set ${inside} up
      ip -n ${this.#router} route add ${this.#subnet}.253 dev ${inside}
      ip netns exec ${this.#router} sh -ec 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter'
    `);
  }

  async place(name: string): Promise<Place> {
    const number = this.#namespaces.length;
    const namespace = `ipe${this.#id}p${number}`;
    const host = `${this.#subnet}.${number}`;
    const gateway = `${this.#subnet}.254`;
    this.#addNamespace(namespace);
    sh(`
      ip link add eth0 netns ${namespace} type veth peer name to${number} netns ${this.#router}
      ip -n ${namespace} addr add ${host}/32 dev eth0
      ip -n ${namespace} link set eth0 up
      ip -n ${namespace} route add ${gateway} dev eth0
      ip -n ${namespace} route add default via ${gateway} src ${host}
      ip -n ${this.#router} addr add ${gateway}/32 dev to${number}
      ip -n ${this.#router} link set to${number} up
      ip -n ${this.#router} route add ${host} dev to${number}
    `);
    const wrap = (command: readonly string[]) => ['nsenter', `--net=/run/netns/${namespace}`, ...command];
    return { name, host, wrap, owns: () => {} };
  }

  async expose(place: Place, port: number): Promise<string> {
    return `${place.host}:${port}`;
  }

  cut(from: Place, to: Place): void {
    this.#rule('add', from, to);
  }

  mend(from: Place, to: Place): void {
    this.#rule('del', from, to);
  }

  sentBytes(place: Place): number {
    const [file, ...args] = place.wrap(['cat', '/proc/net/dev']);
    const line = execFileSync(file!, args, { encoding: 'utf8' })
      .split('\n')
      .find((text) => text.includes('eth0:'));
    // The ninth number of an interface: bytes sent.
    return Number(line!.split(':')[1]!.trim().split(/\s+/)[8]);
  }

  async close(): Promise<void> {
    // With a namespace go its cables, and the other end of each.
    for (const name of this.#namespaces.splice(0)) execFileSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
  }

  #rule(what: 'add' | 'del', from: Place, to: Place): void {
    const name = `${from.host}>${to.host}`;
    if (this.#cuts.has(name) === (what === 'add')) return;
    sh(`ip -n ${this.#router} rule ${what} from ${from.host} to ${to.host} blackhole`);
    if (what === 'add') this.#cuts.add(name);
    else this.#cuts.delete(name);
  }

  #addNamespace(name: string): void {
    sh(`ip netns add ${name}`);
    this.#namespaces.push(name);
    sh(`ip -n ${name} link set lo up`);
  }
}

function sh(script: string): void {
  execFileSync('sh', ['-ec', script], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` },
  });
}
