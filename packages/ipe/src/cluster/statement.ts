import { canonicalJson } from '@ipe/core/bytes';
import { type SigningKey, verifySignature } from './identity.ts';

/** A body and the Ed25519 signature over its type and canonical JSON (RFC 8785). */
export interface Statement<Body> {
  readonly body: Body;
  readonly signature: string;
}

/** Signs `body` as a statement of `type`; the type is signed too, so no statement can pass for one of another type. */
export function signStatement<Body>(key: SigningKey, type: string, body: Body): Statement<Body> {
  return { body, signature: key.sign(statementBytes(type, body)) };
}

/** Whether `publicKey` signed exactly this body under this type. */
export function verifyStatement(publicKey: string, type: string, statement: Statement<unknown>): boolean {
  if (typeof statement.signature !== 'string') return false;
  return verifySignature(publicKey, statementBytes(type, statement.body), statement.signature);
}

function statementBytes(type: string, body: unknown): Uint8Array {
  return Buffer.from(`ipe-statement-v1\n${type}\n${canonicalJson(body)}`);
}
