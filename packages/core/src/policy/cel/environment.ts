import { json, jsonObject, objectOf, string, type Type, timestamp } from './types.ts';

/** A name an expression may use, and its type. */
export interface Declaration {
  readonly name: string;
  readonly type: Type;
}

/** What an expression may refer to. Immutable; an `Activation` supplies the values in the same order. */
export interface Environment {
  /** Top-level variables; the position is the index of the value in `Activation.roots`. */
  readonly roots: readonly Declaration[];
  /** `variables.<name>` visible to this expression, in order; the position indexes `Activation.variables`. */
  readonly variables: readonly Declaration[];
  /** Variables declared after this expression: named in messages, never usable. */
  readonly laterVariables: readonly string[];
  /** Whether `data` and `staleness_ms` exist. */
  readonly facts: boolean;
  /** Types of fact values by namespace, where declared; `json` otherwise. */
  readonly factTypes: ReadonlyMap<string, Type>;
  /** Namespace in which names are resolved first, as cel-spec's containers; normally empty. */
  readonly container: string;
}

const entity = (name: string): Type => objectOf(name, { type: string, id: string, properties: jsonObject });

/** Roots of every policy expression, in the order in which `Activation.roots` holds their values. */
export const policyRoots = ['subject', 'action', 'resource', 'context', 'params', 'now'] as const;

/**
 * The environment of a policy's expressions: the AuthZEN request, `params`, `now`, `data`, `staleness_ms` and the
 * variables declared so far.
 *
 * @param options.params the literal `params` of the document; gives their types, so that a misspelt one is found
 * @param options.variables variables declared before the expression, with the types the checker gave them
 * @param options.laterVariables names declared after it, for messages only
 * Source: OpenID AuthZEN 1.0, section 5 (information model).
 */
export function policyEnvironment(options: {
  readonly params?: unknown;
  readonly variables?: readonly Declaration[];
  readonly laterVariables?: readonly string[];
  readonly factTypes?: ReadonlyMap<string, Type>;
}): Environment {
  return {
    roots: [
      { name: 'subject', type: entity('subject') },
      { name: 'action', type: objectOf('action', { name: string, properties: jsonObject }) },
      { name: 'resource', type: entity('resource') },
      { name: 'context', type: jsonObject },
      { name: 'params', type: typeOfJson('params', options.params ?? {}) },
      { name: 'now', type: timestamp },
    ],
    variables: options.variables ?? [],
    laterVariables: options.laterVariables ?? [],
    facts: true,
    factTypes: options.factTypes ?? new Map(),
    container: '',
  };
}

/** The type of a literal JSON value; objects keep their fields, so that a misspelt one can be named. */
export function typeOfJson(name: string, value: unknown): Type {
  if (value === null) return { kind: 'null' };
  switch (typeof value) {
    case 'string':
      return string;
    case 'boolean':
      return { kind: 'bool' };
    case 'number':
      return { kind: 'double' };
    case 'bigint':
      return { kind: 'int' };
    case 'object':
      break;
    default:
      return json;
  }
  if (Array.isArray(value)) return { kind: 'list', element: commonType(name, value) };
  const fields: Record<string, Type> = Object.create(null);
  for (const [key, part] of Object.entries(value)) fields[key] = typeOfJson(`${name}.${key}`, part);
  return objectOf(name, fields);
}

function commonType(name: string, values: readonly unknown[]): Type {
  const [first, ...rest] = values.map((value) => typeOfJson(`${name}[]`, value));
  if (first === undefined || first.kind === 'null') return json;
  if (first.kind === 'object') return rest.every((type) => type.kind === 'object') ? jsonObject : json;
  return rest.every((type) => type.kind === first.kind) && first.kind !== 'list' ? first : json;
}
