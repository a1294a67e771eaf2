import type { Socket } from 'node:net';

/** Sockets in pairs, of which neither outlives the other. */
export class TiedSockets {
  readonly #open = new Set<Socket>();

  /** Passes on what comes in at the near one; the other way is the caller's. */
  tie(near: Socket, far: Socket): void {
    for (const socket of [near, far]) {
      this.#open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#open.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
  }

  destroyAll(): void {
    for (const socket of this.#open) socket.destroy();
  }
}
