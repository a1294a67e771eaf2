import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { unifiedPatch } from './patch.ts';

test('a changed line is shown with its context', () => {
  const before = Array.from({ length: 9 }, (_, i) => `line ${i}\n`).join('');
  expect(unifiedPatch('f', before, before.replace('line 4', 'LINE 4'))).toBe(
    '--- a/f\n+++ b/f\n@@ -2,7 +2,7 @@\n line 1\n line 2\n line 3\n-line 4\n+LINE 4\n line 5\n line 6\n line 7\n',
  );
});

test('files that come, go or lack a last line break are shown as git shows them', () => {
  expect(unifiedPatch('f', null, 'a\n')).toBe('--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+a\n');
  expect(unifiedPatch('f', 'a\n', null)).toBe('--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n');
  expect(unifiedPatch('f', 'a', 'a\n')).toBe('--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n');
  expect(unifiedPatch('f', 'a', 'a')).toBe('');
});

test('texts too far apart are replaced as a whole', () => {
  const lines = (mark: string) => Array.from({ length: 1500 }, (_, i) => `${mark}${i}\n`).join('');
  const patch = unifiedPatch('f', lines('a'), lines('b'));
  expect(patch.split('\n').filter((line) => line.startsWith('-a'))).toHaveLength(1500);
  expect(patch.split('\n').filter((line) => line.startsWith('+b'))).toHaveLength(1500);
});

test('stock git applies every patch and gets the new text', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ipe-patch-'));
  const line = fc.constantFrom('a', 'b', 'c', 'd', '');
  const text = fc
    .tuple(fc.array(line, { maxLength: 25 }), fc.boolean())
    .map(([lines, ended]) => lines.join('\n') + (ended && lines.length > 0 ? '\n' : ''));
  try {
    fc.assert(
      fc.property(text, text, (before, after) => {
        fc.pre(before !== '' && after !== '' && before !== after);
        writeFileSync(join(folder, 'f'), before);
        execFileSync('git', ['apply', '--unidiff-zero', '-'], {
          cwd: folder,
          input: unifiedPatch('f', before, after),
          stdio: ['pipe', 'ignore', 'pipe'],
        });
        expect(readFileSync(join(folder, 'f'), 'utf8')).toBe(after);
      }),
      { numRuns: 150, seed: 7 },
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
