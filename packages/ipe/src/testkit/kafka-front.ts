import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial } from 'node:net';
import { TiedSockets } from './network/tied.ts';

const host = '127.0.0.1';

/** A listener in front of a broker that tells its clients an address of its own, which would lead them past it. */
export interface KafkaFront {
  readonly port: number;
  /** Port of the broker behind; connections to one before are broken. Undefined: there is none. */
  lead(brokerPort: number | undefined): void;
  /** What clients are told instead of the broker's port. Default: this listener's. */
  advertise(port: number): void;
  close(): void;
}

/**
 * Opens a front. Answers pass frame by frame; wherever one names the broker (its host, then its port, as metadata and
 * coordinators are given), another port is put in its place, which changes no length.
 */
export async function openKafkaFront(): Promise<KafkaFront> {
  const sockets = new TiedSockets();
  let brokerPort: number | undefined;
  let advertised = 0;
  const server = createServer((near) => {
    const behind = brokerPort;
    if (behind === undefined) return void near.destroy();
    const far = dial({ host, port: behind });
    sockets.tie(near, far);
    const [from, to] = [addressOf(behind), addressOf(advertised)];
    far.on(
      'data',
      framed((frame) => near.write(replaced(frame, from, to))),
    );
  });
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  advertised = port;
  return {
    port,
    lead: (next) => {
      brokerPort = next;
      sockets.destroyAll();
    },
    advertise: (next) => {
      advertised = next;
      sockets.destroyAll();
    },
    close: () => {
      server.close();
      sockets.destroyAll();
    },
  };
}

/** A host and a port as Kafka's protocol writes them in fields of the classic encoding. */
function addressOf(port: number): Buffer {
  const bytes = Buffer.alloc(2 + host.length + 4);
  bytes.writeInt16BE(host.length, 0);
  bytes.write(host, 2, 'latin1');
  bytes.writeInt32BE(port, 2 + host.length);
  return bytes;
}

function replaced(frame: Buffer, from: Buffer, to: Buffer): Buffer {
  for (let at = frame.indexOf(from); at >= 0; at = frame.indexOf(from, at + to.length)) to.copy(frame, at);
  return frame;
}

/** Cuts a stream into frames: a length of four bytes, then as many. */
function framed(onFrame: (frame: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const length = rest.length < 4 ? Number.POSITIVE_INFINITY : 4 + rest.readInt32BE(0);
      if (rest.length < length) return;
      onFrame(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
  };
}
