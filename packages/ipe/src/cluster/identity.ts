import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
  webcrypto,
  X509Certificate,
} from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { IpeError } from '@ipe/core';

/** Who this instance is: made once at first start, kept under `keys/`, never remade by itself. */
export interface Identity {
  /** Readable name of the instance, in receipts and member lists. */
  readonly id: string;
  /** 64 random bits in hexadecimal: the origin of every dot written here. */
  readonly origin: string;
  readonly certificatePem: string;
  readonly privateKeyPem: string;
  /** SHA-256 of the certificate's DER form, lower-case hexadecimal. */
  readonly fingerprint: string;
  readonly signing: SigningKey;
  /** Whether this start made it: the directory is new. */
  readonly isNew: boolean;
}

/** An Ed25519 key pair (RFC 8032). Keys and signatures are raw bytes in base64url. */
export interface SigningKey {
  readonly publicKey: string;
  sign(message: Uint8Array): string;
}

/** Verifies an Ed25519 signature; false for anything malformed. */
export function verifySignature(publicKey: string, message: Uint8Array, signature: string): boolean {
  try {
    return verify(null, message, keyObjectOf(publicKey), Buffer.from(signature, 'base64url'));
  } catch {
    return false;
  }
}

/** Keys as the runtime wants them; making one costs an eighth of a verification, and few are used again and again. */
const keyObjects = new Map<string, KeyObject>();
const keyObjectsMax = 1_000;

function keyObjectOf(publicKey: string): KeyObject {
  let key = keyObjects.get(publicKey);
  if (key === undefined) {
    key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: publicKey }, format: 'jwk' });
    if (keyObjects.size >= keyObjectsMax) keyObjects.clear();
    keyObjects.set(publicKey, key);
  }
  return key;
}

const files = { instance: 'instance.json', certificate: 'node.crt', key: 'node.key', signing: 'signing.key' };
/** Certificates are pinned by fingerprint, so a long life costs nothing and an early expiry would cut the cluster. */
const certificateLifeMs = 20 * 365 * 86_400_000;

/**
 * Reads the identity under `directory`, or makes it where none of its files exist.
 * @throws IpeError `corrupt` when only some of the files are there or one cannot be read: nothing is overwritten.
 */
export async function loadIdentity(directory: string, options: { id?: string; nowMs: number }): Promise<Identity> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const [instance, certificatePem, privateKeyPem, signingPem] = await Promise.all(
    Object.values(files).map((file) => readIfPresent(join(directory, file))),
  );
  const present = [instance, certificatePem, privateKeyPem, signingPem].filter((text) => text !== undefined).length;
  if (present === 0) return await createIdentity(directory, options);
  if (present < 4) {
    const missing = Object.values(files).filter(
      (_, i) => [instance, certificatePem, privateKeyPem, signingPem][i] === undefined,
    );
    throw new IpeError(
      'corrupt',
      `the identity in \`${directory}\` is incomplete: ${missing.join(', ')} missing; restore it from a backup, or remove the folder to become a new instance`,
      { details: { directory, missing } },
    );
  }
  return { ...read(directory, instance!, certificatePem!, privateKeyPem!, signingPem!, options.id), isNew: false };
}

async function createIdentity(directory: string, options: { id?: string; nowMs: number }): Promise<Identity> {
  const origin = randomBytes(8).toString('hex');
  const id = options.id ?? `ipe-${origin.slice(0, 6)}`;
  const { certificatePem, privateKeyPem } = await selfSigned(id, options.nowMs);
  const signingPem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  await writePrivate(join(directory, files.key), privateKeyPem);
  await writePrivate(join(directory, files.certificate), certificatePem);
  await writePrivate(join(directory, files.signing), signingPem);
  const instance = `${JSON.stringify({ id, origin })}\n`;
  await writePrivate(join(directory, files.instance), instance);
  return { ...read(directory, instance, certificatePem, privateKeyPem, signingPem, options.id), isNew: true };
}

function read(
  directory: string,
  instance: string,
  certificatePem: string,
  privateKeyPem: string,
  signingPem: string,
  configuredId: string | undefined,
): Omit<Identity, 'isNew'> {
  try {
    const { id, origin } = JSON.parse(instance) as { id: string; origin: string };
    if (typeof id !== 'string' || !/^[0-9a-f]{16}$/.test(origin)) throw new Error(`${files.instance} is malformed`);
    createPrivateKey(privateKeyPem);
    return {
      id: configuredId ?? id,
      origin,
      certificatePem,
      privateKeyPem,
      fingerprint: fingerprintOf(new X509Certificate(certificatePem).raw),
      signing: signingKey(createPrivateKey(signingPem)),
    };
  } catch (cause) {
    throw new IpeError('corrupt', `the identity in \`${directory}\` cannot be read: ${(cause as Error).message}`, {
      details: { directory },
      cause,
    });
  }
}

/** Fingerprint of a certificate in DER form. */
export function fingerprintOf(der: Uint8Array): string {
  return new X509Certificate(Buffer.from(der)).fingerprint256.replaceAll(':', '').toLowerCase();
}

/** A signing key from a private Ed25519 key object. */
export function signingKey(key: KeyObject): SigningKey {
  const { x } = createPublicKey(key).export({ format: 'jwk' });
  if (typeof x !== 'string') throw new TypeError('not an Ed25519 key');
  return { publicKey: x, sign: (message) => sign(null, message, key).toString('base64url') };
}

async function selfSigned(name: string, nowMs: number): Promise<{ certificatePem: string; privateKeyPem: string }> {
  // The library needs the metadata polyfill first, and both cost 100 ms: loaded only when a certificate is made.
  await import('reflect-metadata');
  const x509 = await import('@peculiar/x509');
  x509.cryptoProvider.set(webcrypto as unknown as typeof globalThis.crypto);
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomBytes(8).toString('hex'),
    name: [{ CN: [name] }],
    // A day of slack, so that a peer whose clock is behind can still complete a handshake.
    notBefore: new Date(nowMs - 86_400_000),
    notAfter: new Date(nowMs + certificateLifeMs),
    signingAlgorithm: algorithm,
    keys,
    extensions: [new x509.BasicConstraintsExtension(false)],
  });
  const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  const privateKeyPem = createPrivateKey({ key: Buffer.from(pkcs8), format: 'der', type: 'pkcs8' })
    .export({ type: 'pkcs8', format: 'pem' })
    .toString();
  return { certificatePem: `${certificate.toString('pem')}\n`, privateKeyPem };
}

/** Text of a file, or undefined where there is none. */
export async function readIfPresent(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Writes a private file whole or not at all (mode 0600). */
export async function writePrivate(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  await writeFile(temporary, text, { mode: 0o600, flush: true });
  await rename(temporary, path);
}

/** Removes what `writePrivate` left in a folder when its process was killed. For whoever alone writes there. */
export async function removeDrafts(folder: string): Promise<void> {
  for (const name of await readdir(folder))
    if (/\.[0-9a-f]{8}\.tmp$/.test(name)) await rm(join(folder, name), { force: true });
}
