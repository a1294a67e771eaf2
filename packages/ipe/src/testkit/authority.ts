import { createPrivateKey, randomBytes, webcrypto } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';

/** An authority of one's own, for tests: issues certificates as an organisation's does. */
export interface Authority {
  readonly ca: string;
  /** A certificate that names `id`, with its key. @param how  as DNS name (default) or as CN alone */
  issue(id: string, how?: 'dns' | 'cn'): Promise<{ readonly cert: string; readonly key: string; readonly ca: string }>;
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const dayMs = 86_400_000;

/** @example const { cert, key, ca } = await (await createAuthority('acme')).issue('ipe-3f2a91'); */
export async function createAuthority(name: string): Promise<Authority> {
  x509.cryptoProvider.set(webcrypto as unknown as typeof globalThis.crypto);
  const newKeys = () => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const life = { notBefore: new Date(Date.now() - dayMs), notAfter: new Date(Date.now() + dayMs) };
  const keys = await newKeys();
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    ...life,
    serialNumber: randomBytes(8).toString('hex'),
    name: [{ CN: [name] }],
    signingAlgorithm: algorithm,
    keys,
    extensions: [new x509.BasicConstraintsExtension(true)],
  });
  const ca = root.toString('pem');
  return {
    ca,
    issue: async (id, how = 'dns') => {
      const own = await newKeys();
      const certificate = await x509.X509CertificateGenerator.create({
        ...life,
        serialNumber: randomBytes(8).toString('hex'),
        subject: [{ CN: [how === 'cn' ? id : 'a node of ours'] }],
        issuer: root.subject,
        signingAlgorithm: algorithm,
        signingKey: keys.privateKey,
        publicKey: own.publicKey,
        extensions: how === 'dns' ? [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: id }])] : [],
      });
      const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', own.privateKey));
      const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }).export({ type: 'pkcs8', format: 'pem' });
      return { cert: certificate.toString('pem'), key: key.toString(), ca };
    },
  };
}
