import { isMap, mapSize } from '../maps.ts';
import { CelError, Duration, Optional, Timestamp, Uint } from '../values.ts';
import type { FunctionTable } from './table.ts';

/** Whether a value is the empty one of its type. */
function isZero(value: unknown): boolean {
  if (value === null || value === false || value === '' || value === 0 || value === 0n) return true;
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length === 0;
  if (value instanceof Uint) return value.value === 0n;
  if (value instanceof Duration) return value.nanos === 0n;
  if (value instanceof Timestamp) return value.seconds === 0 && value.nanos === 0;
  return isMap(value) && mapSize(value) === 0;
}

/** Optional values. `or` and `orValue` are planned apart, as they may skip their argument. Source: cel-go, cel/library.go. */
export const optionalFunctions: FunctionTable = {
  unary: {
    'optional.of': (value) => Optional.of(value),
    'optional.ofNonZeroValue': (value) => (isZero(value) ? Optional.none : Optional.of(value)),
    hasValue: (value) => (value instanceof Optional ? value.present : undefined),
    value: (value) => {
      if (!(value instanceof Optional)) return undefined;
      return value.present ? value.value : new CelError('invalid_argument', 'the optional is empty');
    },
    'optional.unwrap': unwrap,
    unwrapOpt: unwrap,
  },
};

function unwrap(list: unknown): unknown {
  if (!Array.isArray(list) || !list.every((element) => element instanceof Optional)) return undefined;
  return list.filter((element) => element.present).map((element) => element.value);
}
