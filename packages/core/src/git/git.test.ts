import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { primitives } from '../../test/node-runtime.ts';
import {
  type Commit,
  compareEntries,
  composeMessage,
  decodeCommit,
  decodeTree,
  editTree,
  encodeCommit,
  encodeTree,
  findEntry,
  frameObject,
  isEntryName,
  objectId,
  parseMessage,
  type TreeEntry,
  unframeObject,
} from './index.ts';

let repository = '';
const git = (args: string[], input?: string | Uint8Array, env: Record<string, string> = {}): string =>
  execFileSync('git', args, { cwd: repository, input, env: { ...process.env, ...env }, encoding: 'utf8' }).trim();

beforeAll(() => {
  repository = mkdtempSync(join(tmpdir(), 'ipe-git-'));
  git(['init', '-q', '--object-format=sha256', '--bare', '.']);
});
afterAll(() => rmSync(repository, { recursive: true, force: true }));

const badSorters = [
  'config',
  'config.policy',
  'config.test.yaml',
  'config0',
  'config-a',
  'config_a',
  'a',
  'a.b',
  'a0',
  '0',
];
const name = fc.oneof(
  fc.constantFrom(...badSorters),
  fc.stringMatching(/^[\x21-\x2e\x30-\x7e]{1,12}$/).filter(isEntryName),
);
const id = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const entry = fc.record({ name, kind: fc.constantFrom('blob' as const, 'tree' as const), id });
const entries = fc.uniqueArray(entry, { selector: (each) => each.name, maxLength: 12 });

describe('ids equal those of stock git', () => {
  test('of blobs, as `git hash-object` computes them', () => {
    const blobs = fc.sample(fc.uint8Array({ maxLength: 300 }), { numRuns: 60, seed: 7 });
    const paths = blobs.map((blob, i) => {
      const path = join(repository, `blob-${i}`);
      writeFileSync(path, blob);
      return path;
    });
    const expected = git(['hash-object', '--no-filters', '--stdin-paths'], paths.join('\n')).split('\n');
    expect(blobs.map((blob) => objectId(primitives, 'blob', blob))).toEqual(expected);
  });

  test('of trees, as `git mktree` sorts and computes them, names that sort badly among them', () => {
    const trees = fc.sample(entries, { numRuns: 400, seed: 11 });
    const input = trees.map((tree) =>
      tree.map((e) => `${e.kind === 'tree' ? '040000 tree' : '100644 blob'} ${e.id}\t${e.name}\0`).join(''),
    );
    const expected = git(['mktree', '-z', '--batch', '--missing'], `${input.join('\0')}\0`).split('\n');
    expect(trees.map((tree) => objectId(primitives, 'tree', encodeTree(tree)))).toEqual(expected);
  });

  test('of commits, as `git commit-tree` computes them', () => {
    const tree = git(['mktree'], '');
    let parent: string | undefined;
    for (const message of [
      'first\n',
      'second\n\nbody with ünïcode\n\nIpe-Compiler: 1\n',
      composeMessage('x', [['A', 'b']]),
    ]) {
      const author = { name: 'Alice Ünser', email: 'alice@example.com', timeSeconds: 1698765000 };
      const committer = { name: 'IPE', email: '', timeSeconds: 1698765001 };
      const commit: Commit = { tree, parents: parent ? [parent] : [], author, committer, message };
      const expected = git(['commit-tree', tree, ...(parent ? ['-p', parent] : []), '-F', '-'], message, {
        GIT_AUTHOR_NAME: author.name,
        GIT_AUTHOR_EMAIL: author.email,
        GIT_AUTHOR_DATE: `@${author.timeSeconds} +0000`,
        GIT_COMMITTER_NAME: committer.name,
        GIT_COMMITTER_EMAIL: committer.email,
        GIT_COMMITTER_DATE: `@${committer.timeSeconds} +0000`,
      });
      const body = encodeCommit(primitives, commit);
      expect(objectId(primitives, 'commit', body)).toBe(expected);
      expect(decodeCommit(primitives, body)).toEqual(commit);
      parent = expected;
    }
  });

  test('the empty tree has the id Git gives it', () => {
    expect(objectId(primitives, 'tree', encodeTree([]))).toBe(
      '6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321',
    );
  });
});

describe('trees', () => {
  test('sort a directory as if its name ended in a slash', () => {
    const kinds = [
      { name: 'config0', kind: 'tree' as const },
      { name: 'config', kind: 'tree' as const },
      { name: 'config.policy', kind: 'tree' as const },
    ];
    expect(kinds.sort(compareEntries).map((e) => e.name)).toEqual(['config.policy', 'config', 'config0']);
  });

  test('decode to what was encoded, whatever the order of entries', () => {
    fc.assert(
      fc.property(entries, (tree) => {
        const body = encodeTree(tree);
        expect(decodeTree(body)).toEqual([...tree].sort(compareEntries));
        for (const each of tree) expect(findEntry(body, each.name)).toEqual(each);
        expect(findEntry(body, 'absent-name')).toBe(undefined);
      }),
    );
  });

  test('edited in place equal those decoded, changed and encoded again', () => {
    fc.assert(
      fc.property(entries, entries, fc.array(name), (tree, puts, removals) => {
        const body = encodeTree(tree);
        const removed = [...new Set(removals)].filter((each) => puts.every((put) => put.name !== each));
        const edited = editTree(body, [...puts, ...removed.map((each) => ({ name: each, remove: true as const }))]);
        const kept = tree.filter((e) => !removed.includes(e.name) && puts.every((put) => put.name !== e.name));
        expect(Buffer.from(edited).toString('hex')).toBe(Buffer.from(encodeTree([...kept, ...puts])).toString('hex'));
      }),
      { numRuns: 500 },
    );
  });

  const raw = (...parts: [mode: string, name: string][]): Uint8Array =>
    Buffer.concat(parts.map(([mode, text]) => Buffer.concat([Buffer.from(`${mode} ${text}\0`), Buffer.alloc(32, 1)])));
  test.each([
    ['a zero-padded mode', raw(['040000', 'a'])],
    ['an executable', raw(['100755', 'a'])],
    ['a link', raw(['120000', 'a'])],
    ['names out of order', raw(['100644', 'b'], ['100644', 'a'])],
    ['a directory sorted as if it were a file', raw(['40000', 'config'], ['100644', 'config.policy'])],
    ['a name twice', raw(['100644', 'a'], ['100644', 'a'])],
    ['a name as file and as directory', raw(['100644', 'a'], ['100644', 'a.b'], ['40000', 'a'])],
    ['an empty name', raw(['100644', ''])],
    ['a slash in a name', raw(['100644', 'a/b'])],
    ['`..`', raw(['40000', '..'])],
    ['`.GIT`', raw(['40000', '.GIT'])],
    ['a name outside ASCII', raw(['100644', 'é'])],
    ['trailing bytes', Buffer.concat([raw(['100644', 'a']), Buffer.from([0])])],
    ['an id cut short', raw(['100644', 'a']).subarray(0, 30)],
  ])('refuse %s', (_, body) => {
    expect(() => decodeTree(body)).toThrow(/malformed tree/);
  });

  test('that decode at all encode to the same bytes, for any bytes', () => {
    fc.assert(
      fc.property(entries, fc.nat(), fc.nat(255), (tree, at, value) => {
        const body = encodeTree(tree);
        if (body.length > 0) body[at % body.length] = value;
        let decoded: TreeEntry[];
        try {
          decoded = decodeTree(body);
        } catch (error) {
          expect(String(error)).toMatch(/malformed tree/);
          return;
        }
        expect(encodeTree(decoded)).toEqual(body);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('commits', () => {
  const good = [
    `tree ${'1'.repeat(64)}`,
    `parent ${'2'.repeat(64)}`,
    'author A <a@b> 1 +0000',
    'committer A <a@b> 1 +0000',
    '',
    'message\n',
  ];
  const decode = (lines: string[]) => decodeCommit(primitives, Buffer.from(lines.join('\n')));
  test('decode', () => expect(decode(good).parents).toEqual(['2'.repeat(64)]));
  test.each([
    ['a short id', 0, `tree ${'1'.repeat(63)}`],
    ['another header', 1, 'encoding latin1'],
    ['a time zone', 2, 'author A <a@b> 1 +0200'],
    ['a zero-padded time', 2, 'author A <a@b> 01 +0000'],
    ['no name', 2, 'author <a@b> 1 +0000'],
    ['no final line feed', 5, 'message'],
    ['a NUL', 5, 'mess\0age\n'],
  ])('refuse %s', (_, at, line) => {
    expect(() => decode(good.with(at, line))).toThrow(/malformed commit/);
  });
  test('refuse bytes that are not UTF-8', () => {
    expect(() => decodeCommit(primitives, Buffer.from([0xff, 0x0a, 0x0a]))).toThrow(/not UTF-8/);
  });

  test('give back message and trailers, and a message cannot forge trailers', () => {
    const text = 'subject\n\nbody\n\nIpe-Compiler: forged';
    expect(parseMessage(composeMessage(text, [['Ipe-Compiler', '1']]))).toEqual({
      text,
      trailers: [['Ipe-Compiler', '1']],
    });
  });
});

describe('frames', () => {
  test('come apart as they were put together', () => {
    const body = new Uint8Array([1, 2, 3]);
    expect(unframeObject(frameObject('blob', body))).toEqual({ type: 'blob', body });
  });
  test.each(['blob 3\0ab', 'blob 03\0abc', 'tag 0\0', 'blob\0', 'blob 1', ''])('refuse `%s`', (text) => {
    expect(() => unframeObject(Buffer.from(text))).toThrow(/malformed object/);
  });
});
