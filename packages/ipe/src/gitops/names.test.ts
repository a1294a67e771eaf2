import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ListedFile, mapNames } from './names.ts';

const files = (...paths: string[]): ListedFile[] => paths.map((path) => ({ path, kind: 'file' }));
const problemOf = (...paths: string[]) =>
  mapNames(files(...paths)).problems.map(({ file, message }) => `${file}: ${message}`);

describe('policies of a directory', () => {
  test('folders are segments, and tests stand beside their policy', () => {
    const mapping = mapNames(
      files('prod/deployment/approval.test.yaml', 'prod/deployment/approval.policy.yaml', 'a.policy.yaml'),
    );
    expect(mapping).toEqual({
      policies: [
        { path: 'a', sourceFile: 'a.policy.yaml' },
        {
          path: 'prod.deployment.approval',
          sourceFile: 'prod/deployment/approval.policy.yaml',
          testFile: 'prod/deployment/approval.test.yaml',
        },
      ],
      problems: [],
      ignored: [],
    });
  });

  test('dot files, documents and YAML far from any policy are ignored', () => {
    const mapping = mapNames(
      files(
        'p/a.policy.yaml',
        'README.md',
        'p/LICENSE',
        '.github/workflows/ci.yaml',
        'p/.hidden.policy.yaml',
        'deploy/values.yaml',
      ),
    );
    expect(mapping.problems).toEqual([]);
    expect(mapping.ignored).toEqual([
      '.github/workflows/ci.yaml',
      'README.md',
      'deploy/values.yaml',
      'p/.hidden.policy.yaml',
      'p/LICENSE',
    ]);
  });

  test('every mistake is reported at once, with the name that was probably meant', () => {
    const mapping = mapNames([
      ...files(
        'p/a.policy.yaml',
        'p/foo.yaml',
        'p/b.polciy.yaml',
        'p/c.policy.yml',
        'p/Upper.policy.yaml',
        'My Team/x.policy.yaml',
        'p/aa.test.yaml',
        'p/a/inner.policy.yaml',
      ),
      { path: 'p/link.policy.yaml', kind: 'symlink' },
      { path: 'module', kind: 'submodule' },
    ]);
    expect(mapping.problems.map(({ file, hint }) => [file, hint])).toEqual([
      ['My Team/x.policy.yaml', 'my-team'],
      ['module', undefined],
      ['p/Upper.policy.yaml', 'upper'],
      ['p/a.policy.yaml', undefined],
      ['p/aa.test.yaml', 'a.test.yaml'],
      ['p/b.polciy.yaml', 'b.policy.yaml'],
      ['p/c.policy.yml', 'c.policy.yaml'],
      ['p/foo.yaml', 'foo.policy.yaml'],
      ['p/link.policy.yaml', undefined],
    ]);
  });

  test('a lone `foo.yaml` in a directory without any policy is a mistake too', () => {
    expect(problemOf('foo.yaml')).toEqual(['foo.yaml: is not a policy by its name; did you mean `foo.policy.yaml`?']);
  });

  test('a name is a policy or a folder, never both', () => {
    expect(problemOf('p/a.policy.yaml', 'p/a/b/c.policy.yaml')).toEqual([
      'p/a.policy.yaml: `p.a` is a policy here and a folder of `p/a/b/c.policy.yaml`; a name is one or the other',
    ]);
  });

  test('a path listed twice is named with its first file', () => {
    expect(problemOf('a.policy.yaml', 'a.policy.yaml')).toEqual([
      'a.policy.yaml: is `a` a second time, after `a.policy.yaml`',
    ]);
  });

  test('sixty-four levels are taken and sixty-five are not', () => {
    const deep = (levels: number) => `${'d/'.repeat(levels - 1)}x.policy.yaml`;
    expect(problemOf(deep(64))).toEqual([]);
    expect(problemOf(deep(65))).toHaveLength(1);
  });
});

describe('laws of the mapping', () => {
  const segment = fc.stringMatching(/^[a-z0-9][a-z0-9_-]{0,8}$/);
  const anyName = fc.oneof(
    segment,
    fc.string({ minLength: 1, maxLength: 6 }).map((text) => text.replaceAll('/', 'x')),
    fc.constantFrom('.git', 'A', 'con.fig'),
  );
  const suffix = fc.constantFrom('.policy.yaml', '.test.yaml', '.yaml', '.policy.yml', '.md', '');
  const listing = fc.array(
    fc.record({
      path: fc
        .tuple(fc.array(anyName, { maxLength: 3 }), anyName, suffix)
        .map(([folders, name, end]) => [...folders, name + end].join('/')),
      kind: fc.constantFrom(
        'file' as const,
        'file' as const,
        'file' as const,
        'symlink' as const,
        'submodule' as const,
      ),
    }),
    { maxLength: 12 },
  );

  test('every file is a policy, a test, a problem or ignored, whatever the listing', () => {
    fc.assert(
      fc.property(listing, (listed) => {
        const { policies, problems, ignored } = mapNames(listed);
        const accounted = new Set([
          ...policies.flatMap(({ sourceFile, testFile }) => [sourceFile, testFile ?? sourceFile]),
          ...problems.map(({ file }) => file),
          ...ignored,
        ]);
        for (const { path } of listed) expect(accounted.has(path)).toBe(true);
      }),
    );
  });

  test('the order of the listing does not matter where nothing is listed twice', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(
          listing.chain((listed) => fc.constantFrom(...listed, ...files('a.policy.yaml'))),
          {
            selector: ({ path }) => path.toLowerCase(),
            maxLength: 12,
          },
        ),
        fc.infiniteStream(fc.nat()),
        (listed, picks) => {
          const shuffled = [...listed];
          for (let i = shuffled.length - 1; i > 0; i--) {
            const j = (picks.next().value as number) % (i + 1);
            [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
          }
          const [one, other] = [mapNames(listed), mapNames(shuffled)];
          expect(other.policies).toEqual(one.policies);
          expect(new Set(other.problems.map(({ file }) => file))).toEqual(
            new Set(one.problems.map(({ file }) => file)),
          );
        },
      ),
    );
  });

  test('valid trees map one to one onto paths, and back', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'))),
        (paths) => {
          const leaves = paths.filter((path) => !paths.some((other) => other.startsWith(`${path}/`)));
          const { policies, problems } = mapNames(files(...leaves.map((path) => `${path}.policy.yaml`)));
          expect(problems).toEqual([]);
          expect(policies.map(({ path }) => path).sort()).toEqual(
            leaves.map((path) => path.replaceAll('/', '.')).sort(),
          );
        },
      ),
    );
  });
});
