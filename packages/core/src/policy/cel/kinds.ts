import { isMap } from './maps.ts';
import { Duration, Optional, Timestamp, TypeValue, Uint } from './values.ts';

/** The name of a value's type, as `type(x)` prints it. */
export function typeNameOf(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return 'string';
    case 'number':
      return 'double';
    case 'bigint':
      return 'int';
    case 'boolean':
      return 'bool';
    case 'object':
      break;
    default:
      return 'unknown';
  }
  if (value === null) return 'null_type';
  if (Array.isArray(value)) return 'list';
  if (value instanceof Uint) return 'uint';
  if (value instanceof Uint8Array) return 'bytes';
  if (value instanceof Timestamp) return 'google.protobuf.Timestamp';
  if (value instanceof Duration) return 'google.protobuf.Duration';
  if (value instanceof TypeValue) return 'type';
  if (value instanceof Optional) return 'optional_type';
  return isMap(value) ? 'map' : 'unknown';
}

/** Shorter names for messages: `timestamp`, `duration`, `null`. */
export function kindOf(value: unknown): string {
  const name = typeNameOf(value);
  if (name === 'google.protobuf.Timestamp') return 'timestamp';
  if (name === 'google.protobuf.Duration') return 'duration';
  return name === 'null_type' ? 'null' : name === 'optional_type' ? 'optional' : name;
}

/** Types that have a name of their own in expressions: `type(x) == int`. */
export const typeNames: ReadonlySet<string> = new Set([
  'bool',
  'bytes',
  'double',
  'int',
  'list',
  'map',
  'null_type',
  'optional_type',
  'string',
  'type',
  'uint',
  'google.protobuf.Timestamp',
  'google.protobuf.Duration',
]);
