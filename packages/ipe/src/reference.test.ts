import { errorCodes, type MethodRow, methods, planes, tokenKinds } from '@ipe/client/protocol';
import { reasons } from '@ipe/core';
import { passesMax } from '@ipe/core/eval';
import { defaultStepBudget, expressionLimits, listLengthMax, requestLimits, yamlLimits } from '@ipe/core/policy';
import { keyBytesMax, membersMax, namespacesMax, recordBytesMax, valueBytesMax } from '@ipe/core/replica';
import { maxDirectoryEntries, maxPathSegments } from '@ipe/core/tree';
import { expect, test } from 'vitest';
import { configReference } from './config/index.ts';
import { writeLimits } from './control/write-methods.ts';
import { snapshotsMax } from './data/held-snapshots.ts';
import { queryLimitMax } from './data/query.ts';
import { batchKeysMax } from './data/reads.ts';
import { batchEntriesMax, transactionOperationsMax } from './data/writes.ts';
import { explainedMax } from './evaluation/evaluator.ts';
import { mirrorLimits, readLimits } from './gitops/git/index.ts';

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

test('docs/reference/limits.md states every bound as the code has it', async () => {
  const sections: Record<string, readonly (readonly [what: string, bound: number, unit?: 'bytes' | 'steps'])[]> = {
    Facts: [
      ['a key', keyBytesMax, 'bytes'],
      ['a value', valueBytesMax, 'bytes'],
      ['namespaces', namespacesMax],
      ['members of a set', membersMax],
      ['entries of `batch-put`', batchEntriesMax],
      ['keys of `batch-get`', batchKeysMax],
      ['operations of `transaction`', transactionOperationsMax],
      ['entries of one page of `query`', queryLimitMax],
      ['snapshots held by `hold-snapshot`', snapshotsMax],
      ['one record of the log (a transaction is one record)', recordBytesMax, 'bytes'],
    ],
    Policies: [
      ['text of a policy (characters)', yamlLimits.policyLengthMax],
      ['text of a test document (characters)', yamlLimits.textLengthMax],
      ['nesting of a document', yamlLimits.depthMax],
      ['values of a document, aliases followed', yamlLimits.valuesMax],
      ['match conditions, variables, validations: each', listLengthMax],
      ['text of an expression (characters)', expressionLimits.maxTextLength],
      ['nesting of an expression', expressionLimits.maxDepth],
      ['nodes of an expression', expressionLimits.maxNodes],
      ['segments of a path', maxPathSegments],
      ['entries of a directory', maxDirectoryEntries],
      ['changes of one `apply`', writeLimits.changesMax],
      ['message of a commit', writeLimits.messageMaxBytes, 'bytes'],
    ],
    Decisions: [
      ['nesting of a request', requestLimits.depthMax],
      ['values of a request', requestLimits.valuesMax],
      ['text of a request, names and strings together (characters)', requestLimits.textLengthMax],
      ['work of one policy, unless `max_cost` says otherwise', defaultStepBudget, 'steps'],
      ['passes over cold facts', passesMax],
      ['policies explained at once', explainedMax],
    ],
    'Git repositories': [
      ['files of a commit', readLimits.entriesMax],
      ['one file', readLimits.fileMaxBytes, 'bytes'],
      ['all files of a commit', readLimits.totalMaxBytes, 'bytes'],
      ['a mirror on disk', mirrorLimits.mirrorMaxBytes, 'bytes'],
    ],
  };
  const shown = (bound: number, unit = '') => {
    const number = bound.toLocaleString('en-US');
    if (unit !== 'bytes') return `${number} ${unit}`.trim();
    const power = [2 ** 30, 2 ** 20, 2 ** 10].findIndex((size) => bound >= size && bound % size === 0);
    return power === -1 ? `${number} bytes` : `${bound / 2 ** (30 - 10 * power)} ${['GiB', 'MiB', 'KiB'][power]}`;
  };
  const lines = [
    '# Limits',
    '',
    'At most so much; what goes beyond is refused with `too_large`, `invalid_params` or `policy_invalid`, and changes nothing. Bounds of requests, connections and time are configuration: [`[limits]`](config.md).',
  ];
  for (const [section, rows] of Object.entries(sections))
    lines.push(
      '',
      `## ${section}`,
      '',
      '| what | at most |',
      '|---|---|',
      ...rows.map(([what, bound, unit]) => `| ${what} | ${shown(bound, unit)} |`),
    );
  await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot(page('limits'));
});
