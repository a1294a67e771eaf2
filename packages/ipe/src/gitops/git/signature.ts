import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';
import { lastLine, type Mirror } from './mirror.ts';

/** Whose signatures on commits are accepted: of either list. */
export interface SignatureRequirement {
  /** OpenSSH `allowed_signers` file: principals and the keys they sign with. */
  readonly allowedSignersFile?: string;
  /** OpenPGP public keys, as `gpg --export` writes them, armoured or not. */
  readonly openpgpKeysFile?: string;
}

/** The only configuration that GnuPG reads: nothing is fetched, no agent is started, and the keys of the file are all there are. */
const gpgConfiguration = [
  'batch',
  'no-autostart',
  'no-auto-key-locate',
  'no-auto-key-retrieve',
  'trust-model always',
  '',
].join('\n');

/**
 * Demands a good signature by an accepted key on a commit. The files are read at each use.
 * @returns who signed, as git reports it.
 * @throws IpeError `forbidden` when the commit is unsigned, or signed wrongly, by someone else, or with a key that has
 *   expired or was revoked; `unavailable` where GnuPG is needed and missing, or the file of keys cannot be read
 */
export async function verifySignature(
  mirror: Mirror,
  commit: string,
  { allowedSignersFile, openpgpKeysFile }: SignatureRequirement,
): Promise<string> {
  const settings = [
    '-c',
    `gpg.ssh.allowedSignersFile=${allowedSignersFile ?? '/dev/null'}`,
    // `fully`: an SSH key that matches no principal verifies as `undefined` trust and must not pass.
    '-c',
    'gpg.minTrustLevel=fully',
  ];
  const verify = (gnupgHome: string) =>
    mirror.run([...settings, 'verify-commit', commit], { environment: { GNUPGHOME: gnupgHome } });
  const result = await (openpgpKeysFile === undefined
    ? verify('/nonexistent')
    : withKeyring(mirror, openpgpKeysFile, verify));
  const signer = /Good (?:"git" )?signature (?:for|from) "?([^"\n]+?)"?(?: with| \[|\n|$)/i.exec(result.stderr)?.[1];
  if (result.status === 0) return signer ?? lastLine(result.stderr);
  const unsigned = result.stderr.trim() === '';
  throw new IpeError(
    'forbidden',
    `commit \`${commit.slice(0, 12)}\` of \`${mirror.location.shown}\` ${
      unsigned ? 'is not signed' : `has no signature of an accepted key: ${lastLine(result.stderr)}`
    }`,
    { details: { commit } },
  );
}

/** Calls back with a GnuPG home of its own that holds the keys of a file and goes afterwards. */
async function withKeyring<T>(mirror: Mirror, keysFile: string, use: (home: string) => Promise<T>): Promise<T> {
  const home = await mkdtemp(join(tmpdir(), 'ipe-gnupg-'));
  try {
    await writeFile(join(home, 'gpg.conf'), gpgConfiguration);
    // Without it, newer versions keep keys in a daemon of their own.
    await writeFile(join(home, 'common.conf'), '');
    const imported = await mirror.git.gpg(['--import', '--', keysFile], { environment: { GNUPGHOME: home } });
    if (imported.status !== 0) {
      throw new IpeError('unavailable', `cannot read OpenPGP keys from \`${keysFile}\`: ${lastLine(imported.stderr)}`, {
        details: { path: keysFile },
      });
    }
    return await use(home);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}
