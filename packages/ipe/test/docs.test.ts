import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { repositoryRoot } from './support/scratch.ts';

/** Every file below the folder with that ending. */
async function filesBelow(folder: string, ending: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  return names.filter((name) => name.endsWith(ending)).map((name) => join(folder, name));
}

/** Every test file of the packages, by its path. */
async function testFiles(): Promise<Map<string, string>> {
  const packages = join(repositoryRoot, 'packages');
  const folders = (await readdir(packages)).flatMap((name) => [
    join(packages, name, 'src'),
    join(packages, name, 'test'),
  ]);
  const paths = (await Promise.all(folders.map((folder) => filesBelow(folder, '.test.ts')))).flat();
  return new Map(await Promise.all(paths.map(async (path) => [path, await readFile(path, 'utf8')] as const)));
}

/** What the test files of that name say; undefined where there is none. */
function textOf(files: ReadonlyMap<string, string>, name: string): string | undefined {
  const texts = [...files].filter(([path]) => path.endsWith(`/${name}`)).map(([, text]) => text);
  return texts.length === 0 ? undefined : texts.join('\n').replaceAll(/\\(['`])/g, '$1');
}

const mention = /`([\w/-]+\.test\.ts)`/g;

test('every test file that a document names is there', async () => {
  const files = await testFiles();
  const documents = await filesBelow(join(repositoryRoot, 'docs'), '.md');
  expect(documents.length).toBeGreaterThan(20);
  const missing: string[] = [];
  for (const path of documents)
    for (const [, name] of (await readFile(path, 'utf8')).matchAll(mention))
      if (textOf(files, name!) === undefined) missing.push(`${path.slice(repositoryRoot.length)}: ${name}`);
  expect(missing).toEqual([]);
});

test('every test that docs/replication.md names behind a promise is in the file it names', async () => {
  const files = await testFiles();
  const document = await readFile(join(repositoryRoot, 'docs', 'replication.md'), 'utf8');
  const promises = document.slice(0, document.indexOf('## Real processes under faults'));
  const named: string[] = [];
  const missing: string[] = [];
  for (const line of promises.split('\n')) {
    const [, ...parts] = line.split(mention);
    for (let i = 0; i < parts.length; i += 2) {
      const [name, after] = [parts[i]!, parts[i + 1]!];
      const text = textOf(files, name) ?? '';
      for (const title of titlesIn(after)) {
        // A title may hold commas itself.
        const titles = text.includes(title) ? [title] : title.split(', ');
        named.push(...titles);
        missing.push(...titles.filter((each) => !text.includes(each)).map((each) => `${name}: ${each}`));
      }
    }
  }
  expect(named.length).toBeGreaterThan(80);
  expect(missing).toEqual([]);
});

/** What follows the name of a file, as in: `: a title; another title, and a third; the simulator |`. */
function titlesIn(text: string): string[] {
  const list = /^(?: \([^)]*\))?: ([^|]*)/.exec(text)?.[1] ?? '';
  return list
    .split(';')
    .map((title) => title.replace(/ and$/, '').trim())
    .filter((title) => title !== '' && !title.startsWith('the simulator'));
}
