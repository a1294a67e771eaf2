import type { LiteralNode } from './ast.ts';
import {
  bool,
  bytes,
  double,
  duration,
  dyn,
  int,
  listOf,
  mapOf,
  nullType,
  string,
  type Type,
  timestamp,
  uint,
} from './types.ts';
import { Uint } from './values.ts';

/** What to write instead of one of the names that are not values. */
export const misuseMessage = {
  data: 'facts are read as `data.<namespace>[key]` or tested as `key in data.<namespace>`, with the namespace written out',
  staleness_ms: 'staleness is read as `staleness_ms.<namespace>`, with the namespace written out',
  variables: 'variables are read as `variables.<name>`',
} as const;

/** Types that may be keys of a map. */
export const mapKeyKinds: ReadonlySet<string> = new Set(['bool', 'int', 'uint', 'string', 'dyn', 'error', 'parameter']);

/** What the names of types stand for, as in `type(x) == int`. */
export const namedTypes: Readonly<Record<string, Type>> = {
  bool,
  bytes,
  double,
  int,
  string,
  uint,
  null_type: nullType,
  list: listOf(dyn),
  map: mapOf(dyn, dyn),
  'google.protobuf.Timestamp': timestamp,
  'google.protobuf.Duration': duration,
};

export function literalType({ value }: LiteralNode): Type {
  switch (typeof value) {
    case 'boolean':
      return bool;
    case 'number':
      return double;
    case 'bigint':
      return int;
    case 'string':
      return string;
    default:
      return value === null ? nullType : value instanceof Uint ? uint : bytes;
  }
}
