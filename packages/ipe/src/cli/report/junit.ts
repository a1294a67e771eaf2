import type { FileProblem } from '../../policies/types.ts';
import type { CheckResult } from './result.ts';

/** JUnit XML as CI systems read it: a suite a file; a problem of a file is a failed case of its own. */
export function junit(result: CheckResult): string {
  const files = new Map<string, string[]>();
  const failures = new Map<string, number>();
  const add = (file: string, name: string, failure?: string) => {
    files.set(file, [...(files.get(file) ?? []), testcase(file, name, failure)]);
    if (failure !== undefined) failures.set(file, (failures.get(file) ?? 0) + 1);
  };
  for (const problem of result.problems)
    if (problem.severity === 'error') add(problem.file, `${problem.code} at ${place(problem)}`, problem.message);
  for (const test of result.tests) add(test.file, test.name, test.passed ? undefined : (test.message ?? 'failed'));
  const all = [...failures.values()].reduce((sum, count) => sum + count, 0);
  const cases = [...files.values()].reduce((sum, list) => sum + list.length, 0);
  const suites = [...files].map(
    ([file, lines]) =>
      `  <testsuite name="${escapeXml(file)}" tests="${lines.length}" failures="${failures.get(file) ?? 0}">\n${lines.join('\n')}\n  </testsuite>`,
  );
  const time = (result.durationMs / 1000).toFixed(3);
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="ipe" tests="${cases}" failures="${all}" time="${time}">\n${suites.join('\n')}\n</testsuites>\n`;
}

function testcase(file: string, name: string, failure: string | undefined): string {
  const head = `    <testcase classname="${escapeXml(file)}" name="${escapeXml(name)}"`;
  return failure === undefined
    ? `${head}/>`
    : `${head}>\n      <failure message="${escapeXml(failure)}"/>\n    </testcase>`;
}

function place({ line, column }: FileProblem): string {
  return line === undefined ? 'the file' : `${line}:${column ?? 1}`;
}

/** XML 1.0 has no way to write control characters, so they are shown as U+FFFD. */
function escapeXml(text: string): string {
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll('\n', '&#10;');
}
