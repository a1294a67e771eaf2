import { expect, test } from 'vitest';
import { runCli } from '../testkit/cli.ts';
import { commands, groups, sections } from './registry.ts';

// The generated page of docs/reference. After a change that is meant, run this file with `-u` and review the diff.
test('docs/reference/cli.md is what the commands say of themselves', async () => {
  const help = async (path: string) => (await runCli([...path.split(' '), '--help'])).out.trim();
  const lines = [
    '# Command line',
    '',
    'Human output by default (colour only on a terminal, progress on long work), `--json` on every command, `-` for standard input. Exit codes: 0 done, 1 failed, 2 usage; `ipe eval --exit-code`: allow 0, deny 3, not_applicable 4. A node is found through `--dir` or `IPE_DIR` (default `.ipe`), or through `--socket`; the token is that of its `credentials.json`, or `IPE_TOKEN`. `NO_COLOR` and `FORCE_COLOR` are honoured.',
  ];
  for (const [heading, names] of Object.entries(sections)) {
    lines.push('', `## ${heading}`);
    for (const name of names)
      for (const { path } of commands.filter(({ path }) => path === name || path.startsWith(`${name} `)))
        lines.push('', `### \`ipe ${path}\``, '', '```', await help(path), '```');
  }
  await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot('../../../../docs/reference/cli.md');
});

test('every group has commands, and every command a place in the help', () => {
  const placed = new Set(Object.values(sections).flat());
  for (const { path } of commands) expect(placed.has(path.split(' ')[0]!), path).toBe(true);
  for (const group of Object.keys(groups))
    expect(
      commands.some(({ path }) => path.startsWith(`${group} `)),
      group,
    ).toBe(true);
});
