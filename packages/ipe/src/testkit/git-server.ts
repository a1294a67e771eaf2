import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

/** A Git repository served over https to whoever knows the token, by stock `git http-backend`. */
export interface GitServer {
  readonly url: string;
  /** Certificate to trust. */
  readonly caFile: string;
  /** `Authorization` headers received, in order; undefined where there was none. */
  readonly seen: readonly (string | undefined)[];
  close(): Promise<void>;
}

/**
 * Serves the repository in `repositoryDir` (its `.git` folder) on a free port of localhost.
 * @param scratchDir folder for the certificate
 */
export async function startGitServer(repositoryDir: string, scratchDir: string, token: string): Promise<GitServer> {
  const [keyFile, caFile] = [join(scratchDir, 'server-key.pem'), join(scratchDir, 'server-cert.pem')];
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      ...subject,
      '-keyout',
      keyFile,
      '-out',
      caFile,
    ],
    { stdio: 'ignore' },
  );
  const seen: (string | undefined)[] = [];
  const server = createServer({ key: readFileSync(keyFile), cert: readFileSync(caFile) }, (request, response) => {
    seen.push(request.headers.authorization);
    const password = Buffer.from(request.headers.authorization?.slice('Basic '.length) ?? '', 'base64')
      .toString('utf8')
      .split(':')[1];
    if (password !== token) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end();
      return;
    }
    const url = new URL(request.url ?? '/', 'https://localhost');
    const backend = spawn('git', ['http-backend'], {
      env: {
        PATH: process.env['PATH'],
        GIT_PROJECT_ROOT: repositoryDir,
        GIT_HTTP_EXPORT_ALL: '1',
        REQUEST_METHOD: request.method,
        PATH_INFO: url.pathname,
        QUERY_STRING: url.search.slice(1),
        CONTENT_TYPE: request.headers['content-type'] ?? '',
        HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
        HTTP_GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
        GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
        REMOTE_USER: 'git',
      },
    });
    request.pipe(backend.stdin);
    const chunks: Buffer[] = [];
    backend.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    backend.on('close', () => {
      const all = Buffer.concat(chunks);
      const end = all.indexOf('\r\n\r\n');
      const headers = all.subarray(0, end).toString('latin1').split('\r\n');
      let status = 200;
      for (const line of headers) {
        const [name = '', value = ''] = line.split(/: (.*)/s);
        if (name.toLowerCase() === 'status') status = Number.parseInt(value, 10);
        else response.setHeader(name, value);
      }
      response.writeHead(status).end(all.subarray(end + 4));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  return {
    url: `https://localhost:${(server.address() as AddressInfo).port}/.git`,
    caFile,
    seen,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
