import { fromHex, type Primitives, toHex } from '../bytes/index.ts';
import { IpeError } from '../errors.ts';
import type { KvOperation, KvRange } from '../store/index.ts';
import type { Codec, ObjectId, PolicyFamily } from './types.ts';

/** Layout of the store on disk; a store with a higher one is refused, a lower one is read. */
export const storeFormat = 1;

// ---- keys -----------------------------------------------------------------------------------------------------------

/** Keys of the `metadata` family. All are ASCII. */
export const metadataKeys = {
  format: ascii('format'),
  /** Root commit that the rows of `path_index` describe. */
  index: ascii('index'),
  /** Digest of all refs: a ref that is lost, altered or in another's place is noticed. */
  refs: ascii('refs'),
  ref: (name: string) => ascii(`ref/${name}`),
  /** Derived facts about a root commit: `CommitRecord`. */
  commit: (id: ObjectId) => ascii(`commit/${id}`),
  /** The root commit of `main` at a generation (its distance from the first one, along first parents). */
  chain: (generation: number) => ascii(`chain/${generation.toString(16).padStart(8, '0')}`),
  /** The latest root commit that had a content root. */
  root: (id: ObjectId) => ascii(`root/${id}`),
  condemned: (id: ObjectId) => ascii(`condemned/${id}`),
  /** There while a collection sweeps: found at the begin of one, the one before was cut short. */
  sweep: ascii('sweep'),
  /** A root commit that was brought in, and of which everything it reaches was found here (`connect.ts`). */
  whole: (id: ObjectId) => ascii(`whole/${id}`),
  /** A root commit whose parents were collected. */
  shallow: (id: ObjectId) => ascii(`shallow/${id}`),
} as const;

/** Range of all metadata keys that begin with `prefix`. */
export function prefixRange(prefix: string): KvRange {
  const last = prefix.charCodeAt(prefix.length - 1);
  return { gte: ascii(prefix), lt: ascii(prefix.slice(0, -1) + String.fromCharCode(last + 1)) };
}

/** Keys of the `path_index` family: `p` + path for policies, `d` + path for directories, `x` + path for the last version of a policy that was deleted. */
export type RowKind = 'p' | 'd' | 'x';

export function rowKey(kind: RowKind, path: string): Uint8Array {
  return ascii(kind + path);
}

export function put(family: PolicyFamily, key: Uint8Array, value: Uint8Array): KvOperation<PolicyFamily> {
  return { type: 'put', family, key, value };
}

export function del(family: PolicyFamily, key: Uint8Array): KvOperation<PolicyFamily> {
  return { type: 'delete', family, key };
}

/** Bytes of a text of ASCII characters only. */
export function ascii(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Text of bytes taken as Latin-1; the inverse of `ascii`. */
export function fromAscii(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}

// ---- index tag --------------------------------------------------------------------------------------------------------

/** Says what the index rows describe: the root commit, and how many removed policies have a row (the tree does not know). */
export interface IndexTag {
  readonly commit: ObjectId;
  readonly deleted: number;
}

export function encodeIndexTag({ commit, deleted }: IndexTag): Uint8Array {
  return ascii(`${commit} ${deleted}`);
}

/** Undefined where it is absent or damaged. */
export function decodeIndexTag(bytes: Uint8Array | undefined): IndexTag | undefined {
  const match = bytes === undefined ? null : /^([0-9a-f]{64}) (\d+)$/.exec(fromAscii(bytes));
  return match === null ? undefined : { commit: match[1]!, deleted: Number(match[2]) };
}

// ---- index rows -----------------------------------------------------------------------------------------------------

export interface PolicyRow {
  readonly hash: ObjectId;
  readonly version: ObjectId;
  readonly program: ObjectId;
  readonly test: ObjectId | null;
  readonly updatedAtMs: number;
}

export interface DirectoryRow {
  readonly hash: ObjectId;
  /** Root commit that last changed anything in or below the directory. */
  readonly commit: ObjectId;
  readonly updatedAtMs: number;
}

/** Row of a policy: time (8 bytes), hash, version, program, then tests if any (32 bytes each), then a checksum. */
export function encodePolicyRow(path: string, row: PolicyRow): Uint8Array {
  const ids = row.test === null ? [row.hash, row.version, row.program] : [row.hash, row.version, row.program, row.test];
  return encodeRow('p', path, row.updatedAtMs, ids);
}

/** Undefined where the row is damaged or belongs to another path. */
export function decodePolicyRow(path: string, bytes: Uint8Array): PolicyRow | undefined {
  const row = decodeRow('p', path, bytes);
  if (row === undefined || row.ids.length < 3 || row.ids.length > 4) return undefined;
  const [hash, version, program, test = null] = row.ids as [ObjectId, ObjectId, ObjectId, ObjectId?];
  return { hash, version, program, test, updatedAtMs: row.timeMs };
}

export function encodeDirectoryRow(path: string, row: DirectoryRow): Uint8Array {
  return encodeRow('d', path, row.updatedAtMs, [row.hash, row.commit]);
}

export function decodeDirectoryRow(path: string, bytes: Uint8Array): DirectoryRow | undefined {
  const row = decodeRow('d', path, bytes);
  if (row?.ids.length !== 2) return undefined;
  return { hash: row.ids[0]!, commit: row.ids[1]!, updatedAtMs: row.timeMs };
}

/** The version that marks a policy's deletion, so that one made again continues its chain. */
export function encodeDeletedRow(path: string, version: ObjectId, timeMs: number): Uint8Array {
  return encodeRow('x', path, timeMs, [version]);
}

export function decodeDeletedRow(path: string, bytes: Uint8Array): { version: ObjectId; timeMs: number } | undefined {
  const row = decodeRow('x', path, bytes);
  return row?.ids.length === 1 ? { version: row.ids[0]!, timeMs: row.timeMs } : undefined;
}

function encodeRow(kind: RowKind, path: string, timeMs: number, ids: readonly ObjectId[]): Uint8Array {
  const bytes = new Uint8Array(12 + 32 * ids.length);
  const view = new DataView(bytes.buffer);
  view.setFloat64(0, timeMs);
  for (let i = 0; i < ids.length; i++) bytes.set(fromHex(ids[i]!), 8 + 32 * i);
  view.setUint32(bytes.length - 4, checksum(kind, path, bytes.subarray(0, -4)));
  return bytes;
}

function decodeRow(kind: RowKind, path: string, bytes: Uint8Array): { timeMs: number; ids: ObjectId[] } | undefined {
  if (bytes.length < 12 || (bytes.length - 12) % 32 !== 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(bytes.length - 4) !== checksum(kind, path, bytes.subarray(0, -4))) return undefined;
  const ids: ObjectId[] = [];
  for (let at = 8; at < bytes.length - 4; at += 32) ids.push(toHex(bytes.subarray(at, at + 32)));
  return { timeMs: view.getFloat64(0), ids };
}

/** FNV-1a, 32 bits, over key and value: finds every single flipped bit and rows that changed places; no secret. */
function checksum(kind: RowKind, path: string, bytes: Uint8Array): number {
  let hash = 0x811c9dc5 ^ kind.charCodeAt(0);
  for (let i = 0; i < path.length; i++) hash = Math.imul(hash ^ path.charCodeAt(i), 0x01000193);
  for (let i = 0; i < bytes.length; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash >>> 0;
}

// ---- commit records -------------------------------------------------------------------------------------------------

/** Where a policy's version chain stands: its newest version, and whether that one marks a deletion. */
export interface ChainState {
  readonly version: ObjectId;
  readonly updatedAtMs: number;
  readonly deleted: boolean;
}

/** Which root commit last changed a directory. */
export interface DirectoryState {
  readonly commit: ObjectId;
  readonly updatedAtMs: number;
}

/**
 * What a root commit did to version chains and directories, relative to its first parent. Derived from the commits
 * alone; it lets any root's metadata be had from the current index by undoing and redoing changes.
 */
export interface CommitRecord {
  readonly generation: number;
  readonly root: ObjectId;
  readonly parents: readonly ObjectId[];
  readonly timeMs: number;
  readonly policies: readonly (readonly [path: string, before: ChainState | null, after: ChainState])[];
  readonly directories: readonly (readonly [
    path: string,
    before: DirectoryState | null,
    after: DirectoryState | null,
  ])[];
  /** Set where retention cut the history before this commit: the record then holds every state there is, as its own. */
  readonly base?: true;
}

/** Paths of a record encoded before other work gets its turn, and bytes of one that are compressed beside it. */
const recordSlice = 256;
const largeRecordBytes = 65_536;

/** The commit's id and the record as JSON, zlib: its checksum (RFC 1950) finds damage. */
export async function encodeRecord(
  { primitives, codec, breathe }: { primitives: Primitives; codec: Codec; breathe: () => Promise<void> },
  commit: ObjectId,
  record: CommitRecord,
): Promise<Uint8Array> {
  const { policies, directories, ...rest } = record;
  const list = async (items: readonly unknown[]): Promise<string> => {
    const texts: string[] = [];
    for (let at = 0; at < items.length; at += recordSlice) {
      if (at > 0) await breathe();
      texts.push(JSON.stringify(items.slice(at, at + recordSlice)).slice(1, -1));
    }
    return `[${texts.join(',')}]`;
  };
  const fields = `"policies":${await list(policies)},"directories":${await list(directories)}`;
  const bytes = primitives.utf8Encode(`["${commit}",{${JSON.stringify(rest).slice(1, -1)},${fields}}]`);
  const aside = bytes.length < largeRecordBytes ? undefined : codec.deflateAside?.(bytes);
  return aside === undefined ? codec.deflate(bytes) : aside;
}

/** Undefined where the record is damaged or another commit's: it can be derived again. */
export function decodeRecord(
  primitives: Primitives,
  codec: Codec,
  commit: ObjectId,
  bytes: Uint8Array,
): CommitRecord | undefined {
  try {
    const [of, record] = JSON.parse(primitives.utf8Decode(codec.inflate(bytes, 1 << 30))) as [string, CommitRecord];
    return of === commit ? record : undefined;
  } catch {
    return undefined;
  }
}

// ---- refs -----------------------------------------------------------------------------------------------------------

export interface StoredRef {
  readonly commit: ObjectId;
  readonly kind: 'branch' | 'pin';
}

/** A ref's row: `<kind> <commit>`. */
export function encodeRef(ref: StoredRef): Uint8Array {
  return ascii(`${ref.kind} ${ref.commit}`);
}

/** @throws IpeError `corrupt`: a ref cannot be derived from anything else. */
export function decodeRef(name: string, bytes: Uint8Array): StoredRef {
  const match = /^(branch|pin) ([0-9a-f]{64})$/.exec(fromAscii(bytes));
  if (match === null) {
    const details = { ref: name, problem: 'damaged' };
    throw new IpeError('corrupt', `ref \`${name}\` is damaged; restore the store from a backup`, { details });
  }
  return { kind: match[1] as 'branch' | 'pin', commit: match[2]! };
}

/** Digest of a set of refs, in name order. */
export function refsDigest(primitives: Primitives, refs: ReadonlyMap<string, StoredRef>): Uint8Array {
  const lines = [...refs].map(([name, { kind, commit }]) => `${name} ${kind} ${commit}\n`).sort();
  return ascii(toHex(primitives.sha256(ascii(lines.join('')))));
}
