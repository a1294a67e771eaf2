import { Duration, Optional, Timestamp, TypeValue, Uint } from './values.ts';

/** A map's key in the form in which equal numbers of different types are one key. */
type KeyForm = string | boolean | bigint;

/**
 * A map that an expression built. Keys are bool, int, uint or string; equal numbers of different types are one key, and
 * the key first given is what iteration shows. Insertion order is kept.
 */
export class CelMap {
  readonly #entries = new Map<KeyForm, { readonly key: unknown; readonly value: unknown }>();

  get size(): number {
    return this.#entries.size;
  }

  /** The value, or undefined when no key equals `key`. */
  get(key: unknown): unknown {
    const form = keyForm(key);
    return form === undefined ? undefined : this.#entries.get(form)?.value;
  }

  has(key: unknown): boolean {
    const form = keyForm(key);
    return form !== undefined && this.#entries.has(form);
  }

  /** Adds an entry while the map is being built; false when the key is there already or cannot be a key. */
  add(key: unknown, value: unknown): boolean {
    const form = keyForm(key);
    if (form === undefined || typeof key === 'number' || this.#entries.has(form)) return false;
    this.#entries.set(form, { key, value });
    return true;
  }

  keys(): readonly unknown[] {
    return Array.from(this.#entries.values(), (entry) => entry.key);
  }

  values(): readonly unknown[] {
    return Array.from(this.#entries.values(), (entry) => entry.value);
  }
}

/** Whether `key` has a type that map keys may have (double only to look up). */
export function isMapKey(key: unknown): boolean {
  return typeof key === 'string' || typeof key === 'boolean' || typeof key === 'bigint' || key instanceof Uint;
}

function keyForm(key: unknown): KeyForm | undefined {
  switch (typeof key) {
    case 'string':
    case 'boolean':
    case 'bigint':
      return key;
    case 'number':
      return Number.isInteger(key) ? BigInt(key) : undefined;
    default:
      return key instanceof Uint ? key.value : undefined;
  }
}

/** Plain objects of JSON: any object that is not one of the classes below. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Whether `value` is a map: built by an expression, or an object of JSON. */
export function isMap(value: unknown): value is CelMap | JsonObject {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && (value instanceof CelMap || isPlain(value))
  );
}

/** Anything not known to be something else is taken for a JSON object, whatever its prototype: only own keys are read. */
function isPlain(value: object): boolean {
  return !(
    value instanceof Uint ||
    value instanceof Uint8Array ||
    value instanceof Timestamp ||
    value instanceof Duration ||
    value instanceof TypeValue ||
    value instanceof Optional
  );
}

/** The value under `key`; undefined when absent. Own properties only, so `__proto__` and `constructor` are plain keys. */
export function mapGet(map: CelMap | JsonObject, key: unknown): unknown {
  if (map instanceof CelMap) return map.get(key);
  return typeof key === 'string' && Object.hasOwn(map, key) ? map[key] : undefined;
}

export function mapHas(map: CelMap | JsonObject, key: unknown): boolean {
  if (map instanceof CelMap) return map.has(key);
  return typeof key === 'string' && Object.hasOwn(map, key) && map[key] !== undefined;
}

export function mapKeys(map: CelMap | JsonObject): readonly unknown[] {
  return map instanceof CelMap ? map.keys() : Object.keys(map);
}

export function mapSize(map: CelMap | JsonObject): number {
  return map instanceof CelMap ? map.size : Object.keys(map).length;
}
