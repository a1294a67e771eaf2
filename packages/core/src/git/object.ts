import { type Primitives, toHex } from '../bytes/index.ts';
import { IpeError } from '../errors.ts';

/** Kinds of objects in IPE's profile of Git. */
export type ObjectType = 'blob' | 'tree' | 'commit';

/** An object taken out of its frame. `body` is a view of the framed bytes. */
export interface GitObject {
  readonly type: ObjectType;
  readonly body: Uint8Array;
}

/** Lower-case hexadecimal SHA-256 id of a Git object. */
const idPattern = /^[0-9a-f]{64}$/;

/** Tells whether `text` is a whole object id. */
export function isObjectId(text: string): boolean {
  return idPattern.test(text);
}

/**
 * The canonical bytes of an object: `"<type> <length>\0" + body`. Its SHA-256 is the object's id, and its zlib form is
 * Git's loose object, so this is also what is stored.
 *
 * Source: gitformat-loose, hash-function-transition (`extensions.objectFormat = sha256`).
 */
export function frameObject(type: ObjectType, body: Uint8Array): Uint8Array {
  const header = `${type} ${body.length}\0`;
  const framed = new Uint8Array(header.length + body.length);
  for (let i = 0; i < header.length; i++) framed[i] = header.charCodeAt(i);
  framed.set(body, header.length);
  return framed;
}

/** Takes an object out of its frame. @throws IpeError `corrupt` unless the header is exactly what `frameObject` writes. */
export function unframeObject(framed: Uint8Array): GitObject {
  const end = framed.subarray(0, 32).indexOf(0);
  if (end < 0) throw malformed('object', 'no header');
  let header = '';
  for (let i = 0; i < end; i++) header += String.fromCharCode(framed[i]!);
  const match = /^(blob|tree|commit) (0|[1-9][0-9]{0,15})$/.exec(header);
  if (match === null) throw malformed('object', 'unknown kind or length in its header');
  const body = framed.subarray(end + 1);
  if (Number(match[2]) !== body.length) throw malformed('object', 'its length differs from its header');
  return { type: match[1] as ObjectType, body };
}

/** Id of already framed bytes. */
export function framedId(primitives: Primitives, framed: Uint8Array): string {
  return toHex(primitives.sha256(framed));
}

/** Id of an object: what `git hash-object --object-format=sha256` prints. */
export function objectId(primitives: Primitives, type: ObjectType, body: Uint8Array): string {
  return framedId(primitives, frameObject(type, body));
}

/** The error of every decoder here: bytes that are not what Git, in IPE's profile, would write. */
export function malformed(what: string, why: string): IpeError {
  return new IpeError('corrupt', `malformed ${what}: ${why}`);
}
