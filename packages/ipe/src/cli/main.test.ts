import { expect, test } from 'vitest';
import { runCli as run } from '../testkit/cli.ts';
import { commands, sections } from './registry.ts';

test('without a command, the help lists every command and group once', async () => {
  const { code, out } = await run([]);
  expect(code).toBe(0);
  for (const name of Object.values(sections).flat()) {
    const known = commands.some(({ path }) => path === name || path.startsWith(`${name} `));
    if (known) expect(out.match(new RegExp(`^ {2}${name} `, 'gm')), name).toHaveLength(1);
  }
  for (const { path } of commands) expect(Object.values(sections).flat()).toContain(path.split(' ')[0]);
});

test('every command loads, has help with an example, and takes --json', async () => {
  for (const { path } of commands) {
    const { code, out } = await run([...path.split(' '), '--help']);
    expect(code, path).toBe(0);
    expect(out, path).toContain(`Usage: ipe ${path}`);
    expect(out, path).toMatch(/Examples?:\n {2}/);
    expect(out, path).toContain('--json');
  }
});

test('a misspelt command, group command or option is answered with the nearest one, exit code 2', async () => {
  expect(await run(['staus'])).toMatchObject({ code: 2, err: expect.stringContaining('status') });
  expect(await run(['data', 'gett'])).toMatchObject({ code: 2, err: expect.stringContaining('get') });
  expect(await run(['data', 'get', 'a.b', '--jsno'])).toMatchObject({
    code: 2,
    err: expect.stringContaining('--json'),
  });
  expect(await run(['data', 'get'])).toMatchObject({ code: 2, err: expect.stringContaining("'key'") });
});

test('where no node runs, the socket is named with what to do, exit code 1', async () => {
  const { code, err } = await run(['status', '--dir', '/nonexistent/ipe']);
  expect(code).toBe(1);
  expect(err).toContain('no node is running: there is no socket at /nonexistent/ipe/run/control.sock');
  expect(err).toContain('ipe serve');
});

test('IPE_DIR and --socket point at a node; a socket of another plane leads to the right one beside it', async () => {
  const environment = { IPE_DIR: '/nonexistent/there' };
  expect((await run(['data', 'get', 'a.b'], { environment })).err).toContain('/nonexistent/there/run/data.sock');
  const socket = ['--socket', '/nonexistent/run/control.sock'];
  expect((await run(['data', 'get', 'a.b', ...socket])).err).toContain('/nonexistent/run/data.sock');
});

test('with --json a failure is one JSON object on standard error', async () => {
  const { out, err } = await run(['data', 'get', 'a.b', '--json']);
  expect(out).toBe('');
  expect(JSON.parse(err)).toMatchObject({ error: { reason: 'connection', state: 'unchanged' } });
});

test('a value that is not JSON is shown with how to give text', async () => {
  const { code, err } = await run(['data', 'put', 'a.b', 'hello']);
  expect(code).toBe(1);
  expect(err).toContain(`'"hello"'`);
});

test('config check names an unknown key with the nearest valid one and its line', async () => {
  const { code, out } = await run(['config', 'check', '-'], { stdin: '[storage]\n[cluster]\nlisten_ = "x"\n' });
  expect(code).toBe(1);
  expect(out).toMatch(/3/);
  expect(out).toContain('listen');
});

test('config print gives back a configuration that reads as the same', async () => {
  const first = await run(['config', 'print', '-'], { stdin: '[predicate_service]\nid = "ipe-1"\n' });
  const second = await run(['config', 'print', '-', '--json'], { stdin: first.out });
  expect(JSON.parse(second.out)).toMatchObject({ predicate_service: { id: 'ipe-1' } });
});

test.each(['bash', 'zsh', 'fish'])('completion for %s knows commands and those of groups', async (shell) => {
  const { code, out } = await run(['completion', shell]);
  expect(code).toBe(0);
  for (const word of ['status', 'policy', 'history']) expect(out).toContain(word);
});
