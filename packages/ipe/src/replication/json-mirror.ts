import type { MessagePlane } from '@ipe/core/plane';
import { type Change, isReserved } from '@ipe/core/replica';
import type { Applied } from '../data/engine.ts';
import { contentOf } from '../data/entry.ts';

export interface JsonMirrorOptions {
  /** Calls back after each commit; `Engine.onApplied`. */
  readonly onApplied: (listener: (applied: Pick<Applied, 'commits'>) => void) => () => void;
  readonly mirror: NonNullable<MessagePlane['mirror']>;
  /** Origin of this instance's writes: only they are published here, each instance publishing its own. */
  readonly origin: string;
  /** Name of this instance, `source_instance` of the messages. */
  readonly instance: string;
  /** Told once for each run of messages that did not get through. */
  readonly onError: (error: unknown) => void;
}

/** What may wait for the broker; beyond it the mirror leaves messages out, which other programs must expect of it. */
const waitingMax = 10_000;

/**
 * Publishes this instance's writes as the JSON messages of RFC-005 ("Replication Protocol") for other programs, in the
 * order of the commits. A mirror: nothing waits for it, and what it loses is not sent again.
 * @returns how to stop; messages that wait are dropped.
 */
export function startJsonMirror(options: JsonMirrorOptions): () => void {
  const { mirror, origin, onError } = options;
  let waiting: { namespace: string; json: Uint8Array }[] = [];
  let isSending = false;
  let isFailing = false;
  let isStopped = false;

  const send = async (): Promise<void> => {
    isSending = true;
    for (let next = waiting.shift(); next !== undefined && !isStopped; next = waiting.shift()) {
      try {
        await mirror(next.namespace, next.json);
        isFailing = false;
      } catch (error) {
        if (!isFailing) onError(error);
        isFailing = true;
      }
    }
    isSending = false;
  };

  const stop = options.onApplied(({ commits }) => {
    for (const commit of commits) {
      const { namespace, source } = commit.record;
      if (source.origin !== origin || isReserved(namespace)) continue;
      for (const change of commit.changes) {
        const message = messageOf(change, options.instance);
        if (message === undefined) continue;
        if (waiting.length >= waitingMax) waiting.shift();
        waiting.push({ namespace, json: Buffer.from(JSON.stringify(message)) });
      }
    }
    if (!isSending && waiting.length > 0) void send();
  });
  return () => {
    isStopped = true;
    waiting = [];
    stop();
  };
}

function messageOf({ key, effect, cell }: Change, instance: string): object | undefined {
  const view = cell.view;
  if (effect === 'none' || view === undefined) return undefined;
  const common = { key, version: view.version, timestamp: view.updatedMs / 1000, source_instance: instance };
  if (view.kind === 'absent') return { type: 'data.delete', ...common, tombstone: true };
  const expires = view.expiresMs === 0 ? {} : { expires_at: view.expiresMs / 1000 };
  return { type: 'data.update', ...common, ...contentOf(cell, view), ...expires };
}
