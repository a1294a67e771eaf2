import { languageVersion } from '@ipe/core/policy';
import type { PolicySnapshot } from '@ipe/core/tree';
import type { CompiledPolicy, PolicyText, Surroundings } from '../policies/types.ts';

/**
 * Policies of a set that are stored just so: same source, same tests, compiled for this version of the language. They
 * compiled and passed when they were stored, and both depend on nothing else, so they need not be done again.
 *
 * Left out are those whose tests ask other paths: what stands there may be about to change.
 */
export async function storedAlready(
  snapshot: PolicySnapshot,
  texts: readonly PolicyText[],
): Promise<ReadonlyMap<string, CompiledPolicy>> {
  const known = new Map<string, CompiledPolicy>();
  const encoder = new TextEncoder();
  for (const { path, source, test } of texts) {
    // Sound, though not exact: a test document that names a path has this word in it.
    if (test?.includes('path')) continue;
    const stored = (await snapshot.lookup(path))?.kind === 'policy' ? await snapshot.readPolicy(path) : undefined;
    if (stored === undefined) continue;
    const { files } = stored;
    const sameTest = test === undefined ? files.test === undefined : equal(files.test, encoder.encode(test));
    if (!sameTest || !equal(files.source, encoder.encode(source)) || languageOf(files.manifest) !== languageVersion)
      continue;
    known.set(path, { path, files, problems: [], tests: [] });
  }
  return known;
}

/** Surroundings that also hold the policies of the set which are not compiled again. */
export function withKnown(surroundings: Surroundings, known: ReadonlyMap<string, CompiledPolicy>): Surroundings {
  return {
    async programsAt(path) {
      const below = [...(await surroundings.programsAt(path))];
      for (const { path: at, files } of known.values())
        if (files !== undefined && (at === path || at.startsWith(`${path}.`)))
          below.push({ path: at, program: files.program });
      return below;
    },
  };
}

function equal(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0;
}

function languageOf(manifest: Uint8Array): unknown {
  try {
    return (JSON.parse(new TextDecoder().decode(manifest)) as { language?: unknown }).language;
  } catch {
    return undefined;
  }
}
