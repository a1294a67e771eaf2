/**
 * Types of CEL expressions, as the checker sees them.
 *
 * `object` is a map whose keys are known (the AuthZEN shapes, literal `params`): reading a field that is not declared is
 * a mistake the checker can name. At run time it is an ordinary map.
 * Source: cel-spec, langdef.md, "Values" and "Gradual type checking".
 */
export type Type =
  /** Anything; with `json`, anything JSON can hold: no int among it, as its numbers are doubles. */
  | { readonly kind: 'dyn'; readonly json?: true }
  | { readonly kind: 'error' }
  | { readonly kind: PrimitiveKind }
  | { readonly kind: 'list'; readonly element: Type }
  | { readonly kind: 'map'; readonly key: Type; readonly value: Type }
  | { readonly kind: 'object'; readonly name: string; readonly fields: Readonly<Record<string, Type>> }
  | { readonly kind: 'optional'; readonly value: Type }
  | { readonly kind: 'type'; readonly of: Type }
  | { readonly kind: 'parameter'; readonly name: string };

/** Types without parts. */
export type PrimitiveKind = 'null' | 'bool' | 'int' | 'uint' | 'double' | 'string' | 'bytes' | 'timestamp' | 'duration';

const primitive = <K extends PrimitiveKind | 'dyn' | 'error'>(kind: K): { readonly kind: K } => Object.freeze({ kind });

export const dyn: Type = primitive('dyn');
/** The type of an expression already reported as wrong; fits everywhere, so one mistake is reported once. */
export const errorType: Type = primitive('error');
export const nullType: Type = primitive('null');
export const bool: Type = primitive('bool');
export const int: Type = primitive('int');
export const uint: Type = primitive('uint');
export const double: Type = primitive('double');
export const string: Type = primitive('string');
export const bytes: Type = primitive('bytes');
export const timestamp: Type = primitive('timestamp');
export const duration: Type = primitive('duration');

export const listOf = (element: Type): Type => ({ kind: 'list', element });
export const mapOf = (key: Type, value: Type): Type => ({ kind: 'map', key, value });
export const optionalOf = (value: Type): Type => ({ kind: 'optional', value });
export const typeOf = (of: Type): Type => ({ kind: 'type', of });
export const objectOf = (name: string, fields: Readonly<Record<string, Type>>): Type => ({
  kind: 'object',
  name,
  fields,
});
export const parameter = (name: string): Type => ({ kind: 'parameter', name });

/** A JSON value of unknown shape. */
export const json: Type = Object.freeze({ kind: 'dyn', json: true });
/** JSON objects of unknown shape: `map(string, dyn)`. */
export const jsonObject: Type = mapOf(string, json);

/** The type as people write it: `list(string)`, `map(string, dyn)`. */
export function typeName(type: Type): string {
  switch (type.kind) {
    case 'list':
      return `list(${typeName(type.element)})`;
    case 'map':
      return `map(${typeName(type.key)}, ${typeName(type.value)})`;
    case 'object':
      return type.name;
    case 'optional':
      return `optional_type(${typeName(type.value)})`;
    case 'type':
      return type.of.kind === 'dyn' ? 'type' : `type(${typeName(type.of)})`;
    case 'parameter':
      return type.name;
    case 'error':
      return '!error!';
    default:
      return type.kind;
  }
}
