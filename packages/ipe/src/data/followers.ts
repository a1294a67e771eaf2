import type { KeyPattern } from './pattern.ts';

/** Followers of one pattern: a key is matched once for all of them. */
interface Group<Follower> {
  readonly pattern: KeyPattern;
  readonly members: Set<Follower>;
}

/**
 * Who follows which keys. Patterns are kept by what their keys start with, so that a change asks those that may match it
 * and not all: a thousand followers of other keys cost a writer nothing.
 */
export class Followers<Follower> {
  /** By namespace, by prefix, by the pattern's text. */
  readonly #groups = new Map<string, Map<string, Map<string, Group<Follower>>>>();

  add(pattern: KeyPattern, follower: Follower): void {
    const byPrefix = entry(this.#groups, pattern.namespace, () => new Map());
    const byText = entry(byPrefix, pattern.prefix, () => new Map());
    entry(byText, pattern.text, () => ({ pattern, members: new Set<Follower>() })).members.add(follower);
  }

  delete({ namespace, prefix, text }: KeyPattern, follower: Follower): void {
    const byPrefix = this.#groups.get(namespace);
    const byText = byPrefix?.get(prefix);
    const group = byText?.get(text);
    if (!group?.members.delete(follower) || group.members.size > 0) return;
    byText!.delete(text);
    if (byText!.size === 0) byPrefix!.delete(prefix);
    if (byPrefix!.size === 0) this.#groups.delete(namespace);
  }

  /** Everybody who follows keys of a namespace. */
  *of(namespace: string): Generator<Follower, void, void> {
    for (const byText of this.#groups.get(namespace)?.values() ?? [])
      for (const { members } of byText.values()) yield* members;
  }

  /** Those who follow any of some keys of a namespace, each once. */
  matching(namespace: string, keys: Iterable<string>): ReadonlySet<Follower> {
    const found = new Set<Follower>();
    const byPrefix = this.#groups.get(namespace);
    if (byPrefix === undefined) return found;
    const seen = new Set<Group<Follower>>();
    for (const key of keys)
      for (const prefix of prefixesOf(key))
        for (const group of byPrefix.get(prefix)?.values() ?? []) {
          if (seen.has(group) || !group.pattern.matches(key)) continue;
          seen.add(group);
          for (const follower of group.members) found.add(follower);
        }
    return found;
  }
}

/** What patterns that match a key may start with: the key, and what ends at each of its dots. */
function* prefixesOf(key: string): Generator<string, void, void> {
  yield key;
  for (let dot = key.indexOf('.'); dot >= 0; dot = key.indexOf('.', dot + 1)) yield key.slice(0, dot + 1);
}

function entry<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}
