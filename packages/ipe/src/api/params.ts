import { IpeError, nearest } from '@ipe/core';

/**
 * Reads a method's parameters by hand: every accessor checks one field and names it when it is wrong. Written out rather
 * than described by a schema, because this runs on every request.
 *
 * @example
 * const fields = readParams(params, ['key', 'limit']);
 * const key = fields.string('key', { maxBytes: 512 });
 * const limit = fields.integerOr('limit', 100, { min: 1, max: 10_000 });
 */
export function readParams(params: unknown, known: readonly string[], where = ''): Params {
  if (params !== undefined && (typeof params !== 'object' || params === null || Array.isArray(params)))
    throw new IpeError(
      'invalid_params',
      `${where === '' ? 'params' : `\`${where}\``} must be an object, not ${typeName(params)}`,
      {
        details: { field: where, expected: 'object' },
      },
    );
  const object = (params ?? {}) as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(object))
    if (!known.includes(name)) {
      const meant = nearest(name, known);
      const field = where === '' ? name : `${where}.${name}`;
      throw new IpeError(
        'invalid_params',
        `unknown parameter \`${shorten(field)}\`; ${
          meant !== undefined
            ? `did you mean \`${meant}\`?`
            : known.length === 0
              ? 'none are taken'
              : `known are ${known.map((each) => `\`${each}\``).join(', ')}`
        }`,
        { details: { field: shorten(field), ...(meant !== undefined && { nearest: meant }) } },
      );
    }
  return new Params(object, where);
}

export interface TextLimits {
  /** UTF-8 bytes; default 4096. */
  readonly maxBytes?: number;
  /** Whether `""` is accepted. Default true. */
  readonly empty?: boolean;
}

export interface NumberLimits {
  readonly min?: number;
  readonly max?: number;
}

/** Parameters of one request, or of one object inside them. `null` counts as absent wherever it has no meaning of its own. */
export class Params {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #where: string;

  constructor(object: Readonly<Record<string, unknown>>, where: string) {
    this.#object = object;
    this.#where = where;
  }

  /** Whether the field was given, `null` included. */
  has(name: string): boolean {
    return Object.hasOwn(this.#object, name);
  }

  /** The field as it came. */
  raw(name: string): unknown {
    return Object.hasOwn(this.#object, name) ? this.#object[name] : undefined;
  }

  /** A failure about this field. */
  refuse(name: string, message: string, details: Readonly<Record<string, unknown>> = {}): IpeError {
    const field = this.#where === '' ? name : `${this.#where}.${name}`;
    return new IpeError('invalid_params', `\`${field}\` ${message}`, { details: { field, ...details } });
  }

  string(name: string, limits: TextLimits = {}): string {
    return this.optionalString(name, limits) ?? this.#missing(name, 'a string');
  }

  optionalString(name: string, limits: TextLimits = {}): string | undefined {
    const value = this.raw(name);
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'string') throw this.#wrong(name, 'a string', value);
    if (value === '' && limits.empty === false) throw this.refuse(name, 'must not be empty');
    const maxBytes = limits.maxBytes ?? 4096;
    // Three bytes at most for a UTF-16 unit: only strings that could be too long are measured.
    if (value.length * 3 > maxBytes && Buffer.byteLength(value, 'utf8') > maxBytes)
      throw new IpeError('too_large', `\`${name}\` is longer than ${maxBytes} bytes`, {
        details: { field: name, max_bytes: maxBytes },
      });
    return value;
  }

  integer(name: string, limits: NumberLimits = {}): number {
    return this.optionalInteger(name, limits) ?? this.#missing(name, 'a whole number');
  }

  integerOr(name: string, otherwise: number, limits: NumberLimits = {}): number {
    return this.optionalInteger(name, limits) ?? otherwise;
  }

  optionalInteger(name: string, limits: NumberLimits = {}): number | undefined {
    const value = this.optionalNumber(name, limits);
    if (value !== undefined && !Number.isSafeInteger(value)) throw this.#wrong(name, 'a whole number', value);
    return value;
  }

  /** A finite number. */
  optionalNumber(name: string, { min, max }: NumberLimits = {}): number | undefined {
    const value = this.raw(name);
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'number' || !Number.isFinite(value)) throw this.#wrong(name, 'a number', value);
    if (min !== undefined && value < min) throw this.refuse(name, `must be at least ${min}`, { min });
    if (max !== undefined && value > max) throw this.refuse(name, `must be at most ${max}`, { max });
    return value;
  }

  boolean(name: string, otherwise = false): boolean {
    const value = this.raw(name);
    if (value === undefined || value === null) return otherwise;
    if (typeof value !== 'boolean') throw this.#wrong(name, 'true or false', value);
    return value;
  }

  oneOf<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const value = this.optionalString(name);
    if (value === undefined) return undefined;
    if ((choices as readonly string[]).includes(value)) return value as T;
    const meant = nearest(value, choices);
    throw this.refuse(
      name,
      `must be one of ${choices.map((each) => `\`${each}\``).join(', ')}${meant === undefined ? '' : `; did you mean \`${meant}\`?`}`,
      { choices, ...(meant !== undefined && { nearest: meant }) },
    );
  }

  /** A required array of at most `maxItems`, each item read by `read` with a name such as `changes[3]`. */
  array<T>(name: string, maxItems: number, read: (item: unknown, where: string) => T): T[] {
    const value = this.raw(name);
    if (value === undefined || value === null) return this.#missing(name, 'an array');
    if (!Array.isArray(value)) throw this.#wrong(name, 'an array', value);
    if (value.length > maxItems)
      throw new IpeError('too_large', `\`${name}\` has ${value.length} items, at most ${maxItems} are taken`, {
        details: { field: name, max_items: maxItems },
      });
    return value.map((item, index) => read(item, `${this.#where === '' ? name : `${this.#where}.${name}`}[${index}]`));
  }

  #missing(name: string, expected: string): never {
    throw this.refuse(name, `is missing; expected ${expected}`, { expected });
  }

  #wrong(name: string, expected: string, value: unknown): IpeError {
    return this.refuse(name, `must be ${expected}, not ${typeName(value)}`, { expected });
  }
}

function typeName(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  switch (typeof value) {
    case 'object':
      return 'an object';
    case 'string':
      return 'a string';
    case 'number':
      return Number.isInteger(value) ? `${value}` : 'a number with a fraction';
    default:
      return String(value);
  }
}

function shorten(text: string): string {
  return text.length > 64 ? `${text.slice(0, 63)}…` : text;
}
