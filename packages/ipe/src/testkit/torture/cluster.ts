import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Broker, freePort, startKafka, startKafkaBehindFront, startNats, startRedis } from '../brokers.ts';
import { openTestNetwork, type Place, type TestNetwork } from '../network/network.ts';
import { type NodeProcess, startProcess } from '../process.ts';

/** How the instances of a cluster hear of each other's writes, besides anti-entropy. */
export const clusterPlanes = ['none', 'gossip', 'nats', 'redis', 'kafka', 'hybrid'] as const;
export type ClusterPlane = (typeof clusterPlanes)[number];

export interface ClusterOptions {
  readonly plane: ClusterPlane;
  readonly instances: number;
  /** Default: namespaces where this user may make them. */
  readonly network?: TestNetwork['kind'];
  /** `false`: nothing stands between instances and a mock of Kafka, which can then be stopped and killed only. */
  readonly isBrokerCuttable?: boolean;
  /** Puts the last instance on a file system of its own of so many MiB, where this user may mount one. */
  readonly smallDiskMegabytes?: number;
}

/** Configuration that every workload expects of an instance. Deletions are forgotten as soon as all members have them. */
const configuration = `
[predicate_service.data_plane]
tombstone_grace = "0s"

[predicate_service.data_plane.namespaces.counts]
conflict_strategy = "counter"
`;

/** One instance: a process that comes and goes, on a state directory and an address that stay. */
export class Member {
  readonly name: string;
  readonly place: Place;
  readonly directory: string;
  readonly address: string;
  readonly #environment: Readonly<Record<string, string>>;
  #process: NodeProcess | undefined;
  /** How often it was started. */
  starts = 0;

  constructor(name: string, place: Place, directory: string, address: string, environment: Record<string, string>) {
    this.name = name;
    this.place = place;
    this.directory = directory;
    this.address = address;
    this.#environment = environment;
  }

  /** The process while it runs. */
  get node(): NodeProcess | undefined {
    return this.#process;
  }

  /** The process, which must be running. */
  get running(): NodeProcess {
    if (this.#process === undefined) throw new Error(`${this.name} is not running`);
    return this.#process;
  }

  /** @param extra settings for this start alone */
  async start(args: readonly string[] = [], extra: Readonly<Record<string, string>> = {}): Promise<void> {
    const config = join(this.directory, '..', `${this.name}.toml`);
    await writeFile(config, configuration);
    this.#process = await startProcess(this.directory, {
      args: ['--config', config, ...args],
      environment: { ...this.#environment, ...extra },
      place: this.place,
    });
    this.starts++;
  }

  async kill(): Promise<void> {
    const node = this.#process;
    this.#process = undefined;
    await node?.kill();
  }

  /** Stops the process where it is (SIGSTOP), or lets it go on. */
  pause(on: boolean): void {
    this.running.child.kill(on ? 'SIGSTOP' : 'SIGCONT');
  }
}

/** Real instances, a real broker where the plane has one, and a network between them whose paths can be cut. */
export class TestCluster {
  readonly plane: ClusterPlane;
  readonly network: TestNetwork;
  readonly members: Member[] = [];
  broker: Broker | undefined;
  brokerPlace: Place | undefined;
  /** Folder of the file system that can be filled, the last instance's. */
  smallDisk: string | undefined;
  readonly #folder: string;

  private constructor(plane: ClusterPlane, network: TestNetwork, folder: string) {
    this.plane = plane;
    this.network = network;
    this.#folder = folder;
  }

  /** Starts the broker, a founder, and the others joined to it one after the other, and resolves when all are linked. */
  static async start(options: ClusterOptions): Promise<TestCluster> {
    const { plane, instances } = options;
    // The mock of Kafka tells its clients a loopback address: instances must be there too.
    const network = await openTestNetwork(plane === 'kafka' ? 'proxies' : options.network);
    const cluster = new TestCluster(plane, network, await mkdtemp(join(tmpdir(), 'ipe-')));
    try {
      const environment = await cluster.#startBroker(options.isBrokerCuttable ?? true);
      for (let i = 0; i < instances; i++) {
        const isLast = i === instances - 1;
        await cluster.#addMember(environment, isLast ? options.smallDiskMegabytes : undefined);
      }
      await cluster.#untilLinked();
    } catch (error) {
      await cluster.close();
      throw error;
    }
    return cluster;
  }

  /** Places of everything but one member: what it is cut off from. */
  placesBesides(member: Member): Place[] {
    const others = this.members.filter((other) => other !== member).map(({ place }) => place);
    return this.brokerPlace ? [...others, this.brokerPlace] : others;
  }

  /** Removes all that the broker keeps, behind everybody's back. */
  async purgeBroker(): Promise<void> {
    const { url } = this.broker!;
    if (url.startsWith('redis')) {
      const client = (await import('redis')).createClient({ url });
      await client.connect();
      await client.flushAll();
      client.destroy();
      return;
    }
    const { connect } = await import('@nats-io/transport-node');
    const { jetstreamManager } = await import('@nats-io/jetstream');
    const connection = await connect({ servers: [new URL(url).host] });
    await (await jetstreamManager(connection)).streams.purge('IPE');
    await connection.close();
  }

  /** Stops the broker's process where it is, or lets it go on. */
  pauseBroker(on: boolean): void {
    process.kill(this.broker!.pid()!, on ? 'SIGSTOP' : 'SIGCONT');
  }

  async close(): Promise<void> {
    for (const member of this.members) await member.kill();
    await this.broker?.close();
    await this.network.close();
    if (this.smallDisk) spawnSync('umount', [this.smallDisk]);
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #startBroker(isCuttable: boolean): Promise<Record<string, string>> {
    const { plane, network } = this;
    const common = { IPE_OBSERVABILITY__LOG_LEVEL: 'warn' };
    const setting = 'IPE_PREDICATE_SERVICE__DATA_PLANE__';
    if (plane === 'none') return common;
    if (plane === 'gossip') return { ...common, [`${setting}MESSAGE_PLANE`]: 'gossip' };
    let address: string;
    if (plane === 'kafka' && isCuttable) {
      const place = await network.place('broker');
      address = '';
      this.broker = await startKafkaBehindFront(async (port) => {
        address = await network.expose(place, port);
        return Number(new URL(`kafka://${address}`).port);
      });
      this.brokerPlace = place;
    } else if (plane === 'kafka') {
      this.broker = await startKafka();
      address = new URL(this.broker.url).host;
    } else {
      const place = await network.place('broker');
      this.broker = await (plane === 'redis' ? startRedis : startNats)({ place });
      this.brokerPlace = place;
      address = await network.expose(place, this.broker.port);
    }
    return {
      ...common,
      [`${setting}MESSAGE_PLANE`]: plane === 'hybrid' ? 'hybrid' : 'pubsub',
      [`${setting}PUBSUB_URL`]: `${new URL(this.broker.url).protocol}//${address}`,
    };
  }

  async #addMember(environment: Record<string, string>, smallDiskMegabytes?: number): Promise<void> {
    const { network, members } = this;
    const name = `i${members.length}`;
    const place = await network.place(name);
    const port = await freePort();
    const address = await network.expose(place, port);
    const folder = join(this.#folder, name);
    await mkdir(folder);
    if (smallDiskMegabytes !== undefined && mountSmallDisk(folder, smallDiskMegabytes)) this.smallDisk = folder;
    const member = new Member(name, place, join(folder, 's'), address, {
      ...environment,
      IPE_CLUSTER__LISTEN: `${place.host}:${port}`,
      IPE_CLUSTER__ADVERTISE: address,
    });
    members.push(member);
    const [founder] = members;
    if (member === founder) return await member.start();
    const { token } = await founder!.running.control.call('member-invite', {});
    await member.start(['--join', founder!.address, '--join-token', token]);
  }

  async #untilLinked(): Promise<void> {
    for (const { running } of this.members) {
      for (;;) {
        const { members } = await running.control.call('members', {});
        if (members.filter(({ linked }) => linked).length >= this.members.length - 1) break;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }
}

function mountSmallDisk(folder: string, megabytes: number): boolean {
  return spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder]).status === 0;
}
