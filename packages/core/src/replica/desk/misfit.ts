import { namespaceOf } from '../key.ts';
import type { Namespace } from '../namespaces.ts';
import type { LogRecord, Operation } from '../record.ts';
import { type KeyState, stateKindOf, strategyText } from '../state.ts';
import type { Failure } from '../write.ts';

const kindsOfOperations = {
  put: ['version', 'siblings'],
  delete: ['version', 'siblings'],
  add: ['counter'],
  reset: ['counter'],
  members: ['members'],
} as const satisfies Record<Operation['op'], readonly KeyState['kind'][]>;

/** Why a record does not fit a namespace, if it does not: it was written under another strategy. */
export function misfit(record: LogRecord, { name, strategy }: Namespace): Failure | undefined {
  const kind = stateKindOf(strategy);
  const fits = ({ op, key }: Operation) =>
    (kindsOfOperations[op] as readonly string[]).includes(kind) && namespaceOf(key) === name;
  if (record.operations.every(fits)) return undefined;
  return {
    reason: 'unavailable',
    message: `a record of ${record.source.id} was written under another strategy than \`${strategyText(strategy)}\` of \`${name}\``,
    details: { namespace: name, strategy: strategyText(strategy) },
  };
}
