/**
 * JSON text in the canonical form of RFC 8785 (JCS): members sorted by UTF-16 code units, no white space, numbers as
 * ECMAScript prints them. Equal values give equal text on every instance, so the text can be hashed and signed.
 *
 * Members that are `undefined` are left out, as `JSON.stringify` does.
 * @throws TypeError on what JSON cannot carry: NaN, infinities, bigint, functions, lone surrogates, cycles deeper than
 *   the stack.
 * @example canonicalJson({ b: 1, a: [2] }) // '{"a":[2],"b":1}'
 */
export function canonicalJson(value: unknown): string {
  switch (typeof value) {
    case 'boolean':
      return value ? 'true' : 'false';
    case 'number':
      if (!Number.isFinite(value)) throw new TypeError(`JSON has no ${value}`);
      return JSON.stringify(value);
    case 'string':
      return canonicalString(value);
    case 'object':
      if (value === null) return 'null';
      return Array.isArray(value) ? canonicalArray(value) : canonicalObject(value as Record<string, unknown>);
    default:
      throw new TypeError(`JSON has no ${typeof value}`);
  }
}

function canonicalArray(items: readonly unknown[]): string {
  let text = '[';
  for (let i = 0; i < items.length; i++) text += (i === 0 ? '' : ',') + canonicalJson(items[i]);
  return `${text}]`;
}

function canonicalObject(object: Readonly<Record<string, unknown>>): string {
  // The default sort compares UTF-16 code units, which is what RFC 8785 §3.2.3 asks.
  let text = '{';
  const names = Object.keys(object);
  for (const name of names.length > 1 ? names.sort() : names) {
    const member = object[name];
    if (member === undefined) continue;
    text += `${text.length === 1 ? '' : ','}${canonicalString(name)}:${canonicalJson(member)}`;
  }
  return `${text}}`;
}

/** With the `u` flag a pair is one code point, so this matches lone surrogates only. */
const loneSurrogate = /\p{Surrogate}/u;

/** Printable ASCII without quote and backslash: most names and ids, and nothing in them is escaped. */
const plain = /^[ !#-[\]-~]*$/;

function canonicalString(text: string): string {
  if (plain.test(text)) return `"${text}"`;
  if (loneSurrogate.test(text)) throw new TypeError('a string with a lone surrogate has no canonical JSON');
  return JSON.stringify(text);
}
