import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FixtureRepository, fixtureRepository } from '../../src/testkit/git-repository.ts';
import { repositoryRoot } from './scratch.ts';

/** A real Git repository with the example policies in its folder `policies`. */
export function exampleRepository(): FixtureRepository & { readonly head: string } {
  const root = join(repositoryRoot, 'examples', 'policies');
  const files: Record<string, string> = {};
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) {
      const path = join(entry.parentPath, entry.name);
      files[`policies/${path.slice(root.length + 1)}`] = readFileSync(path, 'utf8');
    }
  const repository = fixtureRepository();
  const head = repository.commit(files, 'Example policies');
  return { ...repository, head };
}
