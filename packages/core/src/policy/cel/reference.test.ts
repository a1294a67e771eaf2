import { expect, test } from 'vitest';
import { functionNames, signaturesOf } from './signatures.ts';
import { timeZoneRelease } from './time-zones.data.ts';

// The generated page of docs/reference. After a change that is meant, run this file with `-u` and review the diff.
test('docs/reference/cel.md lists every function with its signatures', async () => {
  const rows = (style: 'global' | 'member'): readonly string[] =>
    functionNames(style)
      .toSorted()
      .map((name) => {
        const written = style === 'global' ? name : `x.${name}`;
        return `| \`${written}\` | ${signaturesOf(name, style)
          .map(({ text }) => `\`${text}\``)
          .join('<br>')} |`;
      });
  const text = [
    '# Functions of expressions',
    '',
    'The standard library of CEL with the extensions for strings, math, lists, sets, encoders, optionals, bindings and macros with two variables. A, B and C stand for any type, the same throughout a signature. [Writing policies](../guides/policies.md) says what expressions see.',
    '',
    '## Called as `fn(x)`',
    '',
    '| function | takes and gives |',
    '|---|---|',
    ...rows('global'),
    '',
    '## Called as `x.fn()`',
    '',
    'The first type is that of `x`.',
    '',
    '| function | takes and gives |',
    '|---|---|',
    ...rows('member'),
    '',
    '## Macros',
    '',
    '`has(a.b)`, `l.all(x, test)`, `l.exists(x, test)`, `l.exists_one(x, test)`, `l.filter(x, test)`, `l.map(x, value)`, `l.map(x, test, value)`; with index or key: `all`, `exists`, `exists_one` as `l.all(i, x, test)`, and `transformList`, `transformMap`, `transformMapEntry`; `cel.bind(name, value, body)`; `o.optMap(x, value)`, `o.optFlatMap(x, optional)`. Over a map, one variable is the key.',
    '',
    'Optionals: `a.?b`, `a[?b]`, `[?a]`, `{?"k": a}`. Names that are no identifiers: `` a.`b-c` ``.',
    '',
    '## What differs',
    '',
    '- No messages: `Type{field: value}`, enums and wrapper types do not exist. `cel.block`, which optimizers emit, neither.',
    '- Numbers of different types compare with `==` and `in` also where the checker knows both.',
    '- A whole double indexes a list, so that numbers of JSON do.',
    '- The checker knows that JSON holds no ints, bytes, timestamps or durations, and refuses what can never work: `context.count + 1`, `context.until > now`.',
    `- Time zones are \`UTC\`, offsets such as \`+02:00\`, and the names of the IANA database, release ${timeZoneRelease}, from 1970 on, from a table of our own: a decision does not depend on the host's.`,
    '- `string(double)` prints as JavaScript does: `1000000.0` is `1000000`.',
    '- Patterns of `matches` are RE2, at most 1,024 characters, and refused where repetition would make them too large.',
    '- Work is counted in steps that depend on the values alone; a spent budget is an error value.',
    '',
  ].join('\n');
  await expect(text).toMatchFileSnapshot('../../../../../docs/reference/cel.md');
});
