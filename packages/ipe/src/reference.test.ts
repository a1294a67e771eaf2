import { errorCodes, type MethodRow, methods, planes, tokenKinds } from '@ipe/client/protocol';
import { reasons } from '@ipe/core';
import { expect, test } from 'vitest';
import { configReference } from './config/index.ts';

// The generated pages of docs/reference. After a change that is meant, run this file with `-u` and review the diff.
const page = (name: string) => `../../../docs/reference/${name}.md`;

test('core and the wire know the same errors', () => {
  expect(Object.keys(errorCodes)).toEqual(Object.keys(reasons));
  const codes = Object.values(errorCodes).map(({ code }) => code);
  expect(new Set(codes).size).toBe(codes.length);
});

test('docs/reference/errors.md lists every error as the registry has it', async () => {
  const rows = Object.entries(reasons).map(([reason, { when, state, retry }]) => {
    const { code, status } = errorCodes[reason as keyof typeof errorCodes];
    const http = reason === 'conflict' ? '409, or 412 where the condition stood in a header' : String(status);
    return `| \`${reason}\` | ${code} | ${http} | ${state} | ${retry} | ${when} |`;
  });
  const text = [
    '# Errors',
    '',
    '`{"error": {"code", "message", "data": {"reason", "state", ...}}}` over JSON-RPC and event streams; over REST `application/problem+json` with the same fields. Messages may be improved, reasons never change their meaning. `state` says what the failed request did: nothing (`unchanged`), all it asked (`applied`), or we cannot know (`unknown`); an error may say otherwise than its row. `retry`: whether sending the same again can help.',
    '',
    '| reason | JSON-RPC | HTTP | state | retry | when |',
    '|---|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
  await expect(text).toMatchFileSnapshot(page('errors'));
});

test('docs/reference/methods.md lists every method with the tokens that open it', async () => {
  const lines = [
    '# Methods',
    '',
    'Which token opens which method, and what it does to state. Parameters and results: the types of `@ipe/client`.',
  ];
  for (const plane of planes) {
    lines.push('', `## ${plane}`, '', `| method | ${tokenKinds.join(' | ')} | verb | |`, '|---|---|---|---|---|---|');
    for (const [method, row] of Object.entries(methods[plane]) as [string, MethodRow][]) {
      const open = tokenKinds.map((kind) => (row.tokens.includes(kind) ? 'yes' : ''));
      lines.push(
        `| \`${method}\` | ${open.join(' | ')} | ${row.verb} | ${row.streaming === true ? 'sessions and SSE only' : ''} |`,
      );
    }
  }
  await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot(page('methods'));
});

test('docs/reference/config.md lists every key of the configuration', async () => {
  await expect(await configReference()).toMatchFileSnapshot(page('config'));
});
