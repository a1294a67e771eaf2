import { absentCell, Cell } from '../cell.ts';
import type { Change } from '../events.ts';
import { join, stateOf } from '../join.ts';
import type { Namespace } from '../namespaces.ts';
import type { LogRecord, Operation } from '../record.ts';
import { liveDots } from '../resolve.ts';
import type { KeyState } from '../state.ts';
import { supersededBy } from '../superseded.ts';
import type { DeskParts } from './parts.ts';

/** Joins the operations of another source's record into their keys. */
export function joinRecord(
  parts: DeskParts,
  namespace: Namespace,
  received: LogRecord,
  nowMs: number,
): (Change & { readonly operation: Operation })[] {
  const { states, pipeline, readMs, origin } = parts;
  const batch = pipeline.gathering;
  const { source, seq } = received;
  return received.operations.map((operation, idx) => {
    const { key } = operation;
    // Whoever mends the row must cover this record too, before it is committed and after (`Repairs.mending`).
    if (states.damageOf(key) !== undefined) {
      states.leaveOut(key, received);
      return { key, operation, effect: 'none', cell: absentCell(namespace.strategy), superseded: undefined };
    }
    const before = states.latest(key);
    const state = join(before.state, stateOf(received, idx, namespace.strategy.kind === 'version-vector'));
    const isIn = liveDots(state).some((dot) => dot.source === source && dot.seq === seq && dot.idx === idx);
    const after = state === before.state ? before : new Cell(state, before.revision + Number(isIn), namespace.strategy);
    if (after !== before) {
      if (isIn && before.state !== undefined && namespace.strategy.kind !== 'counter')
        batch.replaced.push({ namespace, key, cell: before, atMs: readMs(nowMs) });
      states.put(batch, namespace, key, before, after, undefined);
    }
    const effect = isIn ? (isWhole(state) ? 'whole' : 'merged') : 'none';
    const superseded = supersededBy(before.state, after.state, operation, namespace.strategy, origin);
    return { key, operation, effect, cell: after, superseded };
  });
}

/** Whether a state is the work of one write alone, so that the write's operation tells it all. */
export function isWhole(state: KeyState): boolean {
  return state.kind === 'version' || (state.kind === 'siblings' && state.live.length === 1);
}
