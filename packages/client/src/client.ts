import { ControlPlane } from './control.ts';
import { DataPlane } from './data.ts';
import { EvaluationPlane } from './evaluation.ts';
import { type CallOptions, type ClientOptions, settingsOf } from './options.ts';
import type { Plane } from './protocol/index.ts';
import { type Caller, Rpc } from './rpc.ts';
import { Session, type SessionOptions } from './session.ts';
import { Transport } from './transport.ts';

/** The methods of all planes, typed. Which of them answer depends on the endpoint and the token. */
export interface Planes {
  readonly control: ControlPlane;
  readonly data: DataPlane;
  readonly evaluation: EvaluationPlane;
}

/** A session that speaks the planes' methods, pipelined over one connection. */
export interface ClientSession extends Planes {
  /** Ends the session once everything outstanding is answered. */
  close(): Promise<void>;
  /** Resolves when the session is over, whichever side ended it. */
  readonly ended: Promise<void>;
}

/** A client of one plane's socket or listener. Connections are opened when needed and kept. */
export interface Client extends Planes {
  /** Calls a method by plane and name; what it takes and gives is up to the caller. */
  call(plane: Plane, method: string, params: unknown, options?: CallOptions): Promise<unknown>;
  /** Opens a pipelined session: use it where many calls are under way at once. */
  session(options?: SessionOptions & CallOptions): Promise<ClientSession>;
  /** Closes all connections; calls under way reject with reason `closed`. */
  close(): void;
}

/**
 * Makes a client of one plane. Nothing is connected until the first call.
 *
 * Each plane has its own endpoint and privilege, so a program that uses two planes makes two clients.
 *
 * @throws IpeClientError `invalid_params` when an option makes no sense.
 * @example
 * const facts = createClient({ socket: '.ipe/run/data.sock', token: process.env.IPE_SERVICE_TOKEN });
 * await facts.data.put('approvals.d1', { approvers: [{ user: 'alice', role: 'senior_engineer' }] });
 */
export function createClient(options: ClientOptions): Client {
  const settings = settingsOf(options);
  const transport = new Transport(settings);
  const rpc = new Rpc(transport, settings);
  const subscriptions = {
    open: (onNotification: NonNullable<SessionOptions['onNotification']>, signal: AbortSignal) =>
      Session.open(transport, { onNotification, signal }, settings.timeoutMs),
  };
  const planesOver = (caller: Caller): Planes => ({
    control: new ControlPlane(caller, rpc, subscriptions),
    data: new DataPlane(caller, subscriptions),
    evaluation: new EvaluationPlane(caller, rpc, subscriptions),
  });
  return {
    ...planesOver(rpc),
    call: (plane, method, params, callOptions) => rpc.call(plane, method, params, callOptions),
    session: async (sessionOptions = {}) => {
      const session = await Session.open(transport, sessionOptions, settings.timeoutMs);
      return { ...planesOver(session), ended: session.ended, close: () => session.close() };
    },
    close: () => transport.close(),
  };
}
