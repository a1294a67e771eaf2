import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { IpeError } from '@ipe/core';

/** Where a repository is, taken apart: what `git` is given, what people are shown, and any credentials found inside. */
export interface Location {
  readonly kind: 'path' | 'ssh' | 'https';
  /** Passed to `git`; holds no credentials. */
  readonly url: string;
  /** The same, for messages, results and commit trailers. */
  readonly shown: string;
  /** From `https://user:token@host/...`. */
  readonly credentials?: { readonly user: string; readonly token: string };
}

const accepted = 'give a local path, `file://`, `ssh://`, `user@host:path` or `https://`';

/**
 * Checks and takes apart a repository location. A relative path is resolved against `baseDir`.
 *
 * Refuses whatever git would treat as an option or as a transport helper (`ext::sh -c ...` runs a program).
 * @throws IpeError `invalid_params`, field `repository`.
 */
export function parseLocation(text: string, baseDir: string): Location {
  const refuse = (why: string): never => {
    throw new IpeError('invalid_params', `\`repository\`: ${why}; ${accepted}`, { details: { field: 'repository' } });
  };
  if (text === '') refuse('is empty');
  if (text.length > 4096) refuse('is longer than 4096 characters');
  if (/[\x00-\x1f\x7f]/.test(text)) refuse('holds control characters');
  if (text.startsWith('-')) refuse(`\`${text}\` begins with \`-\``);
  if (/^[a-zA-Z0-9+.-]+::/.test(text)) refuse(`\`${text}\` names a transport helper`);

  const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*):\/\//.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) {
    // The rule of git itself: a colon before any slash means `host:path`.
    const scp = /^(?:([^@/:]+)@)?([^/:@[\]]+|\[[^\]]+\]):(?!\/\/)(.+)$/.exec(text);
    if (scp !== null && !text.slice(0, text.indexOf(':')).includes('/')) {
      if (scp[2]!.startsWith('-') || scp[1]?.startsWith('-')) refuse('has a host that begins with `-`');
      return { kind: 'ssh', url: text, shown: text };
    }
    const path = resolve(baseDir, text);
    return { kind: 'path', url: path, shown: path };
  }
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return refuse('is not a URL');
  }
  switch (scheme) {
    case 'file': {
      if (url.host !== '') refuse('names a host in a `file://` URL; write `file:///path`');
      const path = fileURLToPath(url);
      return { kind: 'path', url: path, shown: path };
    }
    case 'ssh': {
      if (url.password !== '') refuse('holds a password, which ssh does not take; use a key');
      if (url.hostname.startsWith('-') || url.username.startsWith('-')) refuse('has a host that begins with `-`');
      if (url.hostname === '') refuse('has no host');
      return { kind: 'ssh', url: text, shown: text };
    }
    case 'https': {
      const [user, token] = [decodeURIComponent(url.username), decodeURIComponent(url.password)];
      url.username = '';
      url.password = '';
      const clean = url.toString();
      if (user === '' && token === '') return { kind: 'https', url: clean, shown: clean };
      // A lone user is a token by the custom of the hosting services.
      const credentials = token === '' ? { user: 'x-access-token', token: user } : { user, token };
      return { kind: 'https', url: clean, shown: clean, credentials };
    }
    default:
      return refuse(
        scheme === 'http' || scheme === 'git'
          ? `\`${scheme}://\` is not protected on the way`
          : `\`${scheme}://\` is not supported`,
      );
  }
}

/**
 * Checks a branch (or tag) name by the rules of `git check-ref-format`.
 * @throws IpeError `invalid_params`, field `branch`.
 */
export function checkBranch(branch: string): string {
  const bad =
    branch === '' ||
    branch.length > 255 ||
    branch.startsWith('-') ||
    branch.startsWith('/') ||
    branch.endsWith('/') ||
    branch.endsWith('.') ||
    branch === '@' ||
    /[\x00-\x20\x7f~^:?*[\\]|\.\.|@\{|\/\/|(^|\/)\.|\.lock(\/|$)/.test(branch);
  if (bad)
    throw new IpeError('invalid_params', `\`branch\`: \`${branch}\` is not a valid branch name`, {
      details: { field: 'branch' },
    });
  return branch;
}

/**
 * Normalizes a folder inside a repository: `''` for its root, else segments joined by `/`.
 * @throws IpeError `invalid_params`, field `directory`.
 */
export function checkDirectory(directory: string): string {
  const segments = directory.split('/').filter((segment) => segment !== '' && segment !== '.');
  if (segments.includes('..') || directory.length > 4096 || /[\x00-\x1f\x7f]/.test(directory))
    throw new IpeError('invalid_params', `\`directory\`: \`${directory}\` must be a folder inside the repository`, {
      details: { field: 'directory' },
    });
  return segments.join('/');
}
