import { type IpeClientError, isIpeClientError } from './errors.ts';
import { delayMs, pause } from './rpc.ts';
import type { Notification, Session } from './session.ts';

export interface WatchOptions {
  /** Ends the iteration, without an error. */
  readonly signal?: AbortSignal;
  /** Whether a broken connection is replaced and the subscription resumed. Default true. */
  readonly reconnect?: boolean;
}

/** What makes one subscription: how to open a session, what to ask, and where a notification says to resume. */
export interface Watch<Event> {
  open(onNotification: (notification: Notification) => Promise<void>, signal: AbortSignal): Promise<Session>;
  /** Sends `subscribe`, resuming behind `token` where there is one. */
  subscribe(session: Session, token: string | undefined, signal: AbortSignal): Promise<unknown>;
  /** Undefined: not an event of this subscription. */
  event(notification: Notification): Event | undefined;
  token(event: Event, notification: Notification): string | undefined;
}

/**
 * Iterates over a subscription's events, at least once each and in order per key. One event is held while the loop
 * body runs, and the socket is not read on: a slow reader slows the server's sending, never fills memory. When the
 * connection breaks, another is opened (50 ms doubling to 5 s, with jitter) and resumes behind the last event taken.
 *
 * @throws IpeClientError what the server answered to `subscribe`, unless it is a passing condition; `closed` once the
 *   client is closed.
 */
export async function* watch<Event>(
  source: Watch<Event>,
  options: WatchOptions = {},
): AsyncGenerator<Event, void, void> {
  const stop = new AbortController();
  const end = () => stop.abort(options.signal?.reason);
  if (options.signal?.aborted) return;
  options.signal?.addEventListener('abort', end, { once: true });
  let token: string | undefined;
  try {
    for (let tries = 0; !stop.signal.aborted; tries++) {
      let isOpen = false;
      const opened = () => {
        isOpen = true;
      };
      try {
        for await (const [event, notification] of connection(source, token, stop.signal, opened)) {
          tries = 0;
          yield event;
          token = source.token(event, notification) ?? token;
        }
      } catch (error) {
        if (stop.signal.aborted) return;
        // A session that is closed can be opened anew; a client that is closed opens none any more.
        if (options.reconnect === false || !isPassing(error) || (!isOpen && error.reason === 'closed')) throw error;
        await pause(delayMs(error, Math.min(tries, 7)), stop.signal).catch(() => {});
      }
    }
  } finally {
    options.signal?.removeEventListener('abort', end);
    stop.abort();
  }
}

/** The events of one connection; throws when it breaks. */
async function* connection<Event>(
  source: Watch<Event>,
  token: string | undefined,
  signal: AbortSignal,
  onOpen: () => void,
): AsyncGenerator<[Event, Notification], void, void> {
  const queue: { event: Event; notification: Notification; taken: () => void }[] = [];
  let wake: () => void = () => {};
  const onNotification = (notification: Notification): Promise<void> => {
    const event = source.event(notification);
    if (event === undefined) return Promise.resolve();
    return new Promise((taken) => {
      queue.push({ event, notification, taken });
      wake();
    });
  };
  const session = await source.open(onNotification, signal);
  onOpen();
  const onAbort = () => session.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  let failure: unknown;
  const fail = (error: unknown) => {
    failure ??= error;
    wake();
  };
  void session.ended.then(() => fail(session.failure));
  // Not awaited: events may come before the answer, and the answer is not read while an event waits to be taken.
  source.subscribe(session, token, signal).catch(fail);
  try {
    while (true) {
      const next = queue.shift();
      if (next !== undefined) {
        yield [next.event, next.notification];
        next.taken();
      } else if (failure !== undefined) {
        throw failure;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    signal.removeEventListener('abort', onAbort);
    for (const { taken } of queue) taken();
    session.destroy();
  }
}

/** The connection broke, or the server says to come back. */
function isPassing(error: unknown): error is IpeClientError {
  return (
    isIpeClientError(error) && ['connection', 'unavailable', 'rate_limited', 'closed', 'timeout'].includes(error.reason)
  );
}
