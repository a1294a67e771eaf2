import { isMap, type JsonObject, mapGet } from './maps.ts';
import { noOverload } from './plan-context.ts';
import { CelError, Optional, Uint } from './values.ts';

/**
 * `operand.field`, planned. Objects of JSON are read in place, own properties only. On an optional the result is an
 * optional.
 *
 * @param id the node to blame
 */
export function fieldSelector(field: string, id: number): (operand: unknown) => unknown {
  // A name that no object inherits cannot have been inherited: much cheaper than asking whose each property is.
  const isInherited = field in Object.prototype;
  return (operand) => {
    if (typeof operand === 'object' && operand !== null) {
      const prototype = Object.getPrototypeOf(operand);
      if (prototype === Object.prototype || prototype === null) {
        const value = (operand as JsonObject)[field];
        return value === undefined || (isInherited && !Object.hasOwn(operand, field)) ? noSuchKey(field, id) : value;
      }
      if (operand instanceof Optional) return onPresent(operand, (value) => selectOptional(value, field, id));
      if (isMap(operand)) {
        const value = mapGet(operand, field);
        return value === undefined ? noSuchKey(field, id) : value;
      }
    }
    return new CelError('no_such_overload', `no field \`${field}\` on this type of value`, id);
  };
}

function noSuchKey(key: unknown, id: number): CelError {
  const shown = key instanceof Uint ? `${key.value}u` : String(key).slice(0, 100);
  return new CelError('no_such_key', `no such key: \`${shown}\``, id);
}

/** `operand[index]`: a list's element, or a map's value. */
export function indexInto(operand: unknown, index: unknown, id: number): unknown {
  if (Array.isArray(operand)) {
    const position = listPosition(index);
    if (position === undefined) return noOverload(id, '_[_]', operand, index);
    const value = operand[position];
    if (position >= 0 && position < operand.length && value !== undefined) return value;
    return new CelError('no_such_key', `index ${position} is outside a list of ${operand.length}`, id);
  }
  if (operand instanceof Optional) return onPresent(operand, (value) => indexOptional(value, index, id));
  if (!isMap(operand)) return noOverload(id, '_[_]', operand, index);
  if (index === null || (typeof index === 'object' && !(index instanceof Uint))) {
    return noOverload(id, '_[_]', operand, index);
  }
  const value = mapGet(operand, index);
  return value === undefined ? noSuchKey(index, id) : value;
}

/** A whole number of any numeric type as a position; NaN-free, possibly negative or too large. */
function listPosition(index: unknown): number | undefined {
  if (typeof index === 'bigint') return Number(index);
  if (typeof index === 'number') return Number.isInteger(index) ? index : undefined;
  return index instanceof Uint ? Number(index.value) : undefined;
}

/** `operand.?field`: empty where the field is absent. */
export function selectOptional(operand: unknown, field: string, id: number): unknown {
  if (operand instanceof Optional) return onPresent(operand, (value) => selectOptional(value, field, id));
  if (!isMap(operand)) return new CelError('no_such_overload', `no field \`${field}\` on this type of value`, id);
  const value = mapGet(operand, field);
  return value === undefined ? Optional.none : Optional.of(value);
}

/** `operand[?index]`: empty where there is nothing at the index. */
export function indexOptional(operand: unknown, index: unknown, id: number): unknown {
  if (operand instanceof Optional) return onPresent(operand, (value) => indexOptional(value, index, id));
  const value = indexInto(operand, index, id);
  if (value instanceof CelError) return value.reason === 'no_such_key' ? Optional.none : value;
  return Optional.of(value);
}

function onPresent(optional: Optional, read: (value: unknown) => unknown): unknown {
  return optional.present ? read(optional.value) : optional;
}

/** `has(operand.field)` */
export function hasField(operand: unknown, field: string, id: number): unknown {
  if (operand instanceof Optional) return operand.present ? hasField(operand.value, field, id) : false;
  if (!isMap(operand)) return new CelError('no_such_overload', `\`has\` does not take this type of value`, id);
  return mapGet(operand, field) !== undefined;
}
