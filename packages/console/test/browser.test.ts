import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { build } from 'vite';
import { expect, test } from 'vitest';

const browserPath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
const root = fileURLToPath(new URL('..', import.meta.url));
const vectors = JSON.parse(readFileSync(new URL('../../../spec/vectors/tree-proofs.json', import.meta.url), 'utf8'));
const types: Record<string, string> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

const title = 'a browser checks a proof by itself, and refuses it under another root';
test.skipIf(browserPath === undefined)(browserPath ? title : `${title} (skipped: no Chromium)`, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'ipe-console-'));
  await build({ root, logLevel: 'silent', build: { outDir: folder, emptyOutDir: true } });
  const server = createServer(async (request, response) => {
    const path = request.url === '/' ? '/index.html' : request.url!;
    try {
      const body = await readFile(join(folder, path));
      response.writeHead(200, { 'content-type': types[extname(path)] ?? 'application/octet-stream' }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const browser = await chromium.launch({
    executablePath: browserPath!,
    args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update'],
  });
  try {
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${port}/`);
    await page.fill('#proof', JSON.stringify(vectors.proofs[0]));
    await page.fill('#root', vectors.rootCommit);
    expect(await page.textContent('#verdict h2')).toBe('Proven');
    expect(await page.textContent('#verdict')).toContain('A policy stands at prod.deployment.approval');
    await page.fill('#root', '0'.repeat(64));
    expect(await page.textContent('#verdict h2')).toBe('Not proven');
  } finally {
    await browser.close();
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true, force: true });
  }
});
