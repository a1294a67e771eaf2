import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Json } from '@ipe/client/protocol';
import { Agent, request } from 'undici';
import { afterAll, expect, test } from 'vitest';
import { startProcess } from '../src/testkit/process.ts';
import { Cleanups, repositoryRoot } from './support/scratch.ts';

// AuthZEN Todo interop scenario, draft 02 of 1.0 (openid/authzen, interop).
const folder = join(repositoryRoot, '..', 'shared', 'conformance', 'authzen', 'todo');
const isThere = existsSync(folder);
const cleanups = new Cleanups();
afterAll(() => cleanups.run());

test.skipIf(!isThere)(
  'the AuthZEN Todo interop scenario: 43 of 43 decisions are equal (skipped without ../shared)',
  async () => {
    const read = (name: string) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
    const users = read('users.json') as Record<string, Json>;
    const { evaluation, evaluations } = read('decisions-authorization-api-1_0-02.json');

    const node = await startProcess(await cleanups.folder(), {
      args: ['--apply', join(repositoryRoot, 'examples', 'policies')],
      environment: { IPE_EVALUATION_PLANE__AUTHZEN_PATH: 'todo' },
    });
    cleanups.add(() => node.stop());
    for (const [id, user] of Object.entries(users)) await node.data.put(`users.${id}`, user);

    const post = (path: string, body: unknown) =>
      postJson(join(node.directory, 'run', 'eval.sock'), node.tokens.application, path, body);
    let equal = 0;
    for (const { request: question, expected } of evaluation) {
      expect((await post('/access/v1/evaluation', question)).decision, JSON.stringify(question)).toBe(expected);
      equal++;
    }
    for (const { request: question, expected } of evaluations) {
      const answer = await post('/access/v1/evaluations', question);
      const decisions = answer.evaluations.map(({ decision }: { decision: boolean }) => ({ decision }));
      expect(decisions, JSON.stringify(question)).toEqual(expected);
      equal++;
    }
    expect(equal).toBe(43);
  },
);

async function postJson(socketPath: string, token: string, path: string, body: unknown) {
  const dispatcher = new Agent({ connect: { socketPath } });
  try {
    const answer = await request(`http://ipe${path}`, {
      method: 'POST',
      dispatcher,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return (await answer.body.json()) as { decision: boolean; evaluations: { decision: boolean }[] };
  } finally {
    await dispatcher.close();
  }
}
