import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { fingerprintOf, type Identity } from './identity.ts';
import type { MemberDirectory, MemberRecord } from './members.ts';

/** Certificates of one's own authority for peer links, as PEM. */
export interface PeerTls {
  /** Authorities whose certificates are accepted of members. */
  readonly ca: string;
  /** What this instance shows, intermediates included; without it, its own certificate. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** How a socket's other side was recognised. */
export interface Recognised {
  readonly member: MemberRecord;
  readonly by: 'record' | 'authority';
}

/**
 * What this instance shows its peers, and as whom it takes them: an active member whose record holds the certificate's
 * fingerprint or, where an authority is configured, whose id the certificate names and whose chain ends there. Either way the
 * cluster key has signed who is a member; an authority alone admits nobody.
 */
export class PeerTrust {
  readonly #identity: Identity;
  readonly #directory: MemberDirectory;
  #tls: PeerTls | undefined;

  constructor(identity: Identity, directory: MemberDirectory, tls: PeerTls | undefined) {
    this.#identity = identity;
    this.#directory = directory;
    this.#tls = tls;
  }

  /** Takes other certificates from now on. */
  use(tls: PeerTls): void {
    this.#tls = tls;
  }

  /** For both sides of a connection. */
  get tlsOptions() {
    const { certificatePem, privateKeyPem } = this.#identity;
    const { ca, cert = certificatePem, key = privateKeyPem } = this.#tls ?? {};
    // Nobody is refused by the handshake: who may do what is decided here, before a byte is read.
    return { cert, key, ...(ca !== undefined && { ca }), minVersion: 'TLSv1.3' as const, rejectUnauthorized: false };
  }

  /** Fingerprint of the certificate that is shown. */
  get fingerprint(): string {
    const cert = this.#tls?.cert;
    return cert === undefined ? this.#identity.fingerprint : fingerprintOf(new X509Certificate(cert).raw);
  }

  /** Whether the other side is this very instance. */
  isSelf(socket: TLSSocket): boolean {
    const fingerprint = peerFingerprint(socket);
    return fingerprint === this.#identity.fingerprint || fingerprint === this.fingerprint;
  }

  /** The active member on the other side; a text that says why it is none. */
  recognise(socket: TLSSocket): Recognised | string {
    const raw = socket.getPeerCertificate(false).raw;
    if (raw === undefined) return 'no certificate';
    const pinned = this.#directory.active(fingerprintOf(raw));
    if (pinned !== undefined) return { member: pinned, by: 'record' };
    if (this.#tls === undefined) return 'not on record';
    if (!socket.authorized) return `not on record, and not of the configured authority (${socket.authorizationError})`;
    const certificate = new X509Certificate(raw);
    const named = this.#directory
      .list()
      .filter(
        ({ body }) => body.state === 'active' && certificate.checkHost(body.id, { wildcards: false }) !== undefined,
      );
    const [only, ...others] = named;
    if (only === undefined) return 'its certificate is of the configured authority and names no active member';
    if (others.length > 0) return 'its certificate names several members';
    return { member: only.body, by: 'authority' };
  }
}

/** Fingerprint of the certificate that the other side proved in the handshake. */
export function peerFingerprint(socket: TLSSocket): string | undefined {
  const raw = socket.getPeerCertificate(false).raw;
  return raw === undefined ? undefined : fingerprintOf(raw);
}
