import { dyn, json, listOf, mapOf, optionalOf, parameter, string, type Type, typeName, typeOf } from './types.ts';

/**
 * Type parameters and what they have been found to stand for, within the check of one expression.
 * Source: cel-spec, langdef.md, "Gradual type checking"; after cel-go's checker/types.go.
 */
export class Inference {
  readonly #bindings = new Map<string, Type>();
  /** Bindings in the order in which they were made, with what they replaced: what `assignAll` takes back. */
  readonly #trail: { readonly name: string; readonly before: Type | undefined }[] = [];
  #fresh = 0;

  /** A type parameter that nothing is known of yet: the element of `[]`. */
  fresh(): Type {
    return parameter(`_${++this.#fresh}`);
  }

  /** `type` with its own parameters renamed to fresh ones, consistently for all `types`. */
  instantiate(types: readonly Type[]): readonly Type[] {
    const renamed = new Map<string, Type>();
    const rename = (type: Type): Type =>
      mapParts(type, rename, (name) => {
        const known = renamed.get(name);
        if (known !== undefined) return known;
        const made = this.fresh();
        renamed.set(name, made);
        return made;
      });
    return types.map(rename);
  }

  /** The type with every parameter replaced by what it stands for; unbound ones stay. */
  resolve(type: Type): Type {
    return mapParts(
      type,
      (part) => this.resolve(part),
      (name) => {
        const bound = this.#bindings.get(name);
        return bound === undefined ? parameter(name) : this.resolve(bound);
      },
    );
  }

  /** As `resolve`, with `dyn` for parameters that nothing was found out about. */
  final(type: Type): Type {
    return mapParts(
      this.resolve(type),
      (part) => this.final(part),
      () => dyn,
    );
  }

  /** Whether values of `from` may go where `to` is asked for; binds parameters only when all of them may. */
  assignAll(to: readonly Type[], from: readonly Type[]): boolean {
    const mark = this.#trail.length;
    const fits = to.length === from.length && to.every((type, index) => this.assign(type, from[index]!));
    if (!fits) this.#undo(mark);
    return fits;
  }

  #undo(mark: number): void {
    for (let last = this.#trail.length; last > mark; last--) {
      const { name, before } = this.#trail.pop()!;
      if (before === undefined) this.#bindings.delete(name);
      else this.#bindings.set(name, before);
    }
  }

  #set(name: string, type: Type): void {
    this.#trail.push({ name, before: this.#bindings.get(name) });
    this.#bindings.set(name, type);
  }

  assign(to: Type, from: Type): boolean {
    if (to.kind === 'parameter' && this.#bindings.has(to.name)) return this.#widen(to.name, from);
    const a = this.#head(to);
    const b = this.#head(from);
    if (a.kind === 'parameter') return this.#bind(a.name, b);
    if (b.kind === 'parameter') return this.#bind(b.name, a);
    if (a.kind === 'dyn' || b.kind === 'dyn' || a.kind === 'error' || b.kind === 'error') return true;
    if (a.kind === 'list' && b.kind === 'list') return this.assign(a.element, b.element);
    if (a.kind === 'optional' && b.kind === 'optional') return this.assign(a.value, b.value);
    if (a.kind === 'type' && b.kind === 'type') return true;
    const left = asMap(a);
    const right = asMap(b);
    if (left !== null && right !== null) {
      return this.assign(left.key, right.key) && this.assign(left.value, right.value);
    }
    return a.kind === b.kind;
  }

  /** A parameter met again: what it stands for must fit, and becomes the more general of the two. */
  #widen(name: string, from: Type): boolean {
    const bound = this.#bindings.get(name)!;
    if (!this.assign(bound, from)) return false;
    const general = this.#general(bound, from);
    if (!this.#mentions(general, name)) this.#set(name, general);
    return true;
  }

  /** The type of a place that holds either: the more general one when both fit, or `dyn`. */
  join(a: Type, b: Type): Type {
    return this.assignAll([a], [b]) ? this.#general(a, b) : dyn;
  }

  /** Of two types that fit each other, the one that says less, part by part. */
  #general(a: Type, b: Type): Type {
    const left = this.#head(a);
    const right = this.#head(b);
    if (left.kind === 'dyn' || right.kind === 'dyn') return dyn;
    if (left.kind === 'list' && right.kind === 'list') return listOf(this.#general(left.element, right.element));
    if (left.kind === 'optional' && right.kind === 'optional')
      return optionalOf(this.#general(left.value, right.value));
    if (left.kind === 'map' && right.kind === 'map') {
      return mapOf(this.#general(left.key, right.key), this.#general(left.value, right.value));
    }
    return right.kind === 'map' ? right : left;
  }

  #head(type: Type): Type {
    let at = type;
    while (at.kind === 'parameter') {
      const bound = this.#bindings.get(at.name);
      if (bound === undefined) return at;
      at = bound;
    }
    return at;
  }

  #bind(name: string, type: Type): boolean {
    if (type.kind === 'parameter' && type.name === name) return true;
    if (this.#mentions(type, name)) return false;
    // What stands for several arguments is no longer known to come from JSON alone.
    this.#set(name, type.kind === 'dyn' ? dyn : type);
    return true;
  }

  #mentions(type: Type, name: string): boolean {
    const head = this.#head(type);
    switch (head.kind) {
      case 'parameter':
        return head.name === name;
      case 'list':
        return this.#mentions(head.element, name);
      case 'optional':
        return this.#mentions(head.value, name);
      case 'type':
        return this.#mentions(head.of, name);
      case 'map':
        return this.#mentions(head.key, name) || this.#mentions(head.value, name);
      default:
        return false;
    }
  }
}

/** An object is a map from string to anything. */
export function asMap(type: Type): { readonly key: Type; readonly value: Type } | null {
  if (type.kind === 'map') return type;
  return type.kind === 'object' ? { key: string, value: json } : null;
}

/** Whether two types are written alike. */
export function sameType(a: Type, b: Type): boolean {
  return typeName(a) === typeName(b);
}

function mapParts(type: Type, part: (type: Type) => Type, ofParameter: (name: string) => Type): Type {
  switch (type.kind) {
    case 'parameter':
      return ofParameter(type.name);
    case 'list':
      return listOf(part(type.element));
    case 'map':
      return mapOf(part(type.key), part(type.value));
    case 'optional':
      return optionalOf(part(type.value));
    case 'type':
      return typeOf(part(type.of));
    default:
      return type;
  }
}
