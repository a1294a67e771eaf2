import { isMap, isScalar, isSeq, type Scalar } from 'yaml';
import { nearest } from '../nearest.ts';
import { isJsonObject, type Json, type JsonObject } from './json.ts';
import { describe, type YamlNode, type YamlSource } from './yaml-source.ts';

/** Text of a document with the node it stands in, so that what is wrong inside it can be placed. */
export interface Text {
  readonly value: string;
  readonly node: Scalar;
}

/** The fields of a mapping that were given, by name. */
export type Fields<Name extends string> = { readonly [N in Name]?: Field };

export interface Field {
  readonly key: YamlNode;
  readonly value: YamlNode;
}

/**
 * Reads a YAML document against an expected shape. Each method returns undefined where the node is not what was
 * expected, after reporting that with the place, what was expected and what was found.
 */
export class ShapeReader {
  readonly source: YamlSource;

  constructor(source: YamlSource) {
    this.source = source;
  }

  /** A mapping with fields out of `names`; any other field is reported with the nearest name. */
  mapping<Name extends string>(node: YamlNode, what: string, names: readonly Name[]): Fields<Name> | undefined {
    const target = this.source.follow(node);
    if (!isMap(target)) {
      this.#expected(node, `a mapping (${what})`, target);
      return undefined;
    }
    const fields: { [N in Name]?: Field } = {};
    for (const { key, value } of target.items as { key: YamlNode; value: YamlNode }[]) {
      const name = this.source.keyText(key);
      if (name === undefined) continue;
      if (names.includes(name as Name)) fields[name as Name] = { key, value };
      else this.#unknownField(key, name, what, names);
    }
    return fields;
  }

  #unknownField(key: YamlNode, name: string, what: string, names: readonly string[]): void {
    const near = nearest(name, names);
    const hint =
      near === undefined ? `${what} has ${names.map((n) => `\`${n}\``).join(', ')}` : `did you mean \`${near}\`?`;
    this.source.reportAt(key, 'unknown_field', `${what} has no field \`${shorten(name)}\``, hint);
  }

  /** The items of a list. */
  list(node: YamlNode, what: string): readonly YamlNode[] | undefined {
    const target = this.source.follow(node);
    if (isSeq(target)) return target.items as YamlNode[];
    this.#expected(node, `a list (${what})`, target);
    return undefined;
  }

  /** Text that is not empty. */
  text(node: YamlNode, what: string): Text | undefined {
    const target = this.source.follow(node);
    if (!isScalar(target) || typeof target.value !== 'string') {
      const hint = isScalar(target) && target.value !== null ? `write "${target.source}" in quotes` : undefined;
      this.#expected(node, `text (${what})`, target, hint);
      return undefined;
    }
    if (target.value.trim() === '') {
      this.source.reportAt(node, 'empty', `expected text (${what}), got an empty one`);
      return undefined;
    }
    return { value: target.value, node: target };
  }

  /** One of the given words. */
  word<Word extends string>(node: YamlNode, what: string, words: readonly Word[]): Word | undefined {
    const text = this.text(node, what);
    if (text === undefined) return undefined;
    if (words.includes(text.value as Word)) return text.value as Word;
    const near = nearest(text.value, words);
    this.source.reportAt(
      node,
      'wrong_value',
      `expected ${what} to be one of ${words.map((w) => `\`${w}\``).join(', ')}, got \`${shorten(text.value)}\``,
      near === undefined ? undefined : `did you mean \`${near}\`?`,
    );
    return undefined;
  }

  /** Any JSON value. */
  json(node: YamlNode): Json | undefined {
    return this.source.json(node);
  }

  /** A JSON object. */
  object(node: YamlNode, what: string): JsonObject | undefined {
    const target = this.source.follow(node);
    if (!isMap(target)) {
      this.#expected(node, `a mapping (${what})`, target);
      return undefined;
    }
    const value = this.source.json(node);
    return isJsonObject(value) ? value : undefined;
  }

  /** Reports a field that had to be there, at the mapping's first key. */
  missing(node: YamlNode, what: string, field: string, hint?: string): void {
    const target = this.source.follow(node);
    const first = isMap(target) ? ((target.items[0]?.key as YamlNode | undefined) ?? node) : node;
    this.source.reportAt(first, 'missing_field', `${what} needs \`${field}\``, hint);
  }

  #expected(node: YamlNode, expected: string, got: YamlNode, hint?: string): void {
    this.source.reportAt(node, 'wrong_type', `expected ${expected}, got ${describe(got)}`, hint);
  }
}

/** Document words as messages show them. */
export function shorten(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 79)}…`;
}
