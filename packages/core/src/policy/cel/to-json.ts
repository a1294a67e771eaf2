import { formatDuration, formatTimestamp } from './calendar.ts';
import { formatDouble } from './functions/conversions.ts';
import { encoderFunctions } from './functions/encoders.ts';
import { isMap, mapGet, mapKeys } from './maps.ts';
import { Duration, Optional, Timestamp, TypeValue, Uint } from './values.ts';

/** JSON as explanations, messages and receipts hold it. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | { readonly [key: string]: JsonValue };

/**
 * A CEL value as JSON, for people and logs. Integers beyond 2^53, numbers that are not finite, timestamps, durations,
 * bytes (base64) and types become strings; an empty optional null. Lists and maps beyond `maxItems` in all are cut short
 * with a last item `"..."`, and so is what nests deeper than 100 levels.
 */
export function toJson(value: unknown, maxItems = 10_000): JsonValue {
  return convert(value, { left: maxItems, depth: 0 });
}

/** What may still be written: items, and how deep the writing is. */
interface Room {
  left: number;
  depth: number;
}

const maxDepth = 100;

const free = { stepsLeft: Number.POSITIVE_INFINITY };

function convert(value: unknown, items: Room): JsonValue {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) ? value : formatDouble(value);
    case 'bigint':
      return whole(value);
    case 'object':
      return value === null ? null : convertNested(value, items);
    default:
      return null;
  }
}

function convertNested(value: object, items: Room): JsonValue {
  if (items.depth >= maxDepth) return '...';
  items.depth++;
  const converted = convertObject(value, items);
  items.depth--;
  return converted;
}

function whole(value: bigint): JsonValue {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : String(value);
}

function convertObject(value: object, items: Room): JsonValue {
  if (Array.isArray(value)) {
    const list: JsonValue[] = [];
    for (const element of value) {
      if (--items.left < 0) return [...list, '...'];
      list.push(convert(element, items));
    }
    return list;
  }
  if (value instanceof Uint) return whole(value.value);
  if (value instanceof Timestamp) return formatTimestamp(value);
  if (value instanceof Duration) return formatDuration(value.nanos);
  if (value instanceof Uint8Array) return String(encoderFunctions.unary!['base64.encode']!(value, free));
  if (value instanceof TypeValue) return value.name;
  if (value instanceof Optional) return value.present ? convert(value.value, items) : null;
  if (!isMap(value)) return null;
  const object: Record<string, JsonValue> = Object.create(null);
  for (const key of mapKeys(value)) {
    const name = key instanceof Uint ? String(key.value) : String(key);
    if (--items.left < 0) {
      object['...'] = '...';
      break;
    }
    object[name] = convert(mapGet(value, key), items);
  }
  return object;
}
