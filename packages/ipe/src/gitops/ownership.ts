import { IpeError } from '@ipe/core';
import { isAtOrBelow, type MirrorRecord, type MirrorRegistry } from './mirrors.ts';

/**
 * The paths a mirror owns: its prefix; without one, the first segments of what the repository has, together with those
 * it had before (so that a folder that disappears from the repository disappears here).
 */
export function ownedPaths(
  prefix: string,
  paths: readonly string[],
  before: readonly string[] = [],
): readonly string[] {
  if (prefix !== '') return [prefix];
  const first = new Set(before);
  for (const path of paths) first.add(path.split('.', 1)[0]!);
  return [...first].sort();
}

/**
 * What other mirrors must give up for `mine` to be owned: nothing where none overlaps. A mirror that was set up by a
 * single sync gives way to the next one; a configured mirror does not, unless forced.
 * @throws IpeError `conflict` naming the mirror in the way.
 */
export function takeOver(
  registry: MirrorRegistry,
  id: string,
  mine: readonly string[],
  force: boolean,
): readonly MirrorRecord[] {
  const changed: MirrorRecord[] = [];
  for (const other of registry.list()) {
    if (other.id === id) continue;
    const lost = other.owned.filter((theirs) =>
      mine.some((own) => isAtOrBelow(theirs, own) || isAtOrBelow(own, theirs)),
    );
    if (lost.length === 0) continue;
    if (other.configured && !force)
      throw new IpeError(
        'conflict',
        `\`${lost[0]}\` is mirrored from \`${other.repository}\` by configuration; give another \`prefix\`, or \`force\` to take it over`,
        { details: { path: lost[0], mirror: other.id, repository: other.repository } },
      );
    changed.push({ ...other, owned: other.owned.filter((path) => !lost.includes(path)) });
  }
  return changed;
}

/**
 * Refuses changes below a mirror that do not come from it.
 * @throws IpeError `forbidden` naming the path and the repository it comes from.
 */
export function refuseMirrored(registry: MirrorRegistry, paths: Iterable<string>): void {
  for (const path of paths) {
    const owner = registry.ownerOf(path);
    if (owner !== undefined)
      throw new IpeError(
        'forbidden',
        `\`${path}\` is mirrored from \`${owner.repository}\`; change it there and sync, or pass \`force\` to write it here until the next sync`,
        { details: { path, mirror: owner.id, repository: owner.repository } },
      );
  }
}
