import { fromHex, toHex } from '../bytes/index.ts';
import { malformed } from './object.ts';

/** Modes of the profile: `100644` (blob) and `40000` (tree). */
export type EntryKind = 'blob' | 'tree';

export interface TreeEntry {
  readonly name: string;
  readonly kind: EntryKind;
  readonly id: string;
}

/** An entry found by a scan, still in its tree's bytes. */
export interface EntryPosition {
  readonly kind: EntryKind;
  /** First byte of the entry (its mode). */
  readonly start: number;
  readonly nameStart: number;
  readonly nameEnd: number;
  /** First byte of the 32-byte id; the entry ends 32 bytes later. */
  readonly idStart: number;
}

const idBytes = 32;
const blobMode = [0x31, 0x30, 0x30, 0x36, 0x34, 0x34, 0x20]; // "100644 "
const treeMode = [0x34, 0x30, 0x30, 0x30, 0x30, 0x20]; // "40000 "

/**
 * Tells whether a name may stand in a tree: printable ASCII without `/`, and not one that `git fsck` refuses or some
 * file system takes for `.git`. In ASCII, string order is byte order, and no two spellings look the same.
 */
export function isEntryName(name: string): boolean {
  return /^[\x21-\x2e\x30-\x7e]{1,255}$/.test(name) && !/^(?:\.{1,2}|\.git|git~1)$/i.test(name);
}

/**
 * Git's order of entries: byte order, where a tree's name counts as if it ended in `/`.
 * So `config.policy` < `config` (a tree) < `config0`, and `config` (a blob) comes before all of them.
 */
export function compareEntries(
  a: { readonly name: string; readonly kind: EntryKind },
  b: { readonly name: string; readonly kind: EntryKind },
): number {
  const left = a.kind === 'tree' ? `${a.name}/` : a.name;
  const right = b.kind === 'tree' ? `${b.name}/` : b.name;
  return left < right ? -1 : left > right ? 1 : 0;
}

/**
 * The body of a tree object; the order of `entries` does not matter.
 * @throws IpeError `corrupt` for a bad name or id, or a name used twice (also once as blob and once as tree).
 */
export function encodeTree(entries: readonly TreeEntry[]): Uint8Array {
  const sorted = [...entries].sort(compareEntries);
  let size = 0;
  const names = new Set<string>();
  for (const entry of sorted) {
    if (!isEntryName(entry.name)) throw malformed('tree', `bad name \`${entry.name}\``);
    if (names.has(entry.name)) throw malformed('tree', `two entries named \`${entry.name}\``);
    names.add(entry.name);
    size += entrySize(entry);
  }
  const body = new Uint8Array(size);
  let at = 0;
  for (const entry of sorted) at = writeEntry(body, at, entry);
  return body;
}

/** Entries of a tree body in Git's order. @throws IpeError `corrupt` for anything `encodeTree` would not have written. */
export function decodeTree(body: Uint8Array): TreeEntry[] {
  const entries: TreeEntry[] = [];
  checkTree(body, (name, position) => {
    entries.push({ name, kind: position.kind, id: idAt(body, position) });
  });
  return entries;
}

/**
 * Checks a tree body strictly: modes, names, order, duplicates, no trailing bytes.
 * @param visit  told each entry in order
 * @throws IpeError `corrupt`
 */
export function checkTree(body: Uint8Array, visit?: (name: string, position: EntryPosition) => void): void {
  let previous: { name: string; kind: EntryKind } | undefined;
  // Blobs whose name is a prefix of the current one: the only ones that a later tree could share its name with, as
  // `a` (blob), `a.b`, `a` (tree) are in order although `a` stands there twice.
  const open: string[] = [];
  for (let at = 0; at < body.length; ) {
    const position = readEntry(body, at);
    const name = nameAt(body, position);
    if (!isEntryName(name)) throw malformed('tree', `bad name \`${printable(name)}\``);
    const entry = { name, kind: position.kind };
    if (previous !== undefined && compareEntries(previous, entry) >= 0) {
      throw malformed('tree', `\`${name}\` stands after \`${previous.name}\``);
    }
    while (open.length > 0 && !name.startsWith(open.at(-1)!)) open.pop();
    if (entry.kind === 'blob') open.push(name);
    else if (open.at(-1) === name) throw malformed('tree', `two entries named \`${name}\``);
    visit?.(name, position);
    previous = entry;
    at = position.idStart + idBytes;
  }
}

/** Finds one entry without decoding the rest. The body must have passed `checkTree` or have come out of `encodeTree`. */
export function findEntry(body: Uint8Array, name: string): TreeEntry | undefined {
  // No objects are made on the way: directories have up to ten thousand entries and are searched by every update.
  for (let at = 0; at < body.length; ) {
    const kind: EntryKind = body[at] === treeMode[0] ? 'tree' : 'blob';
    const nameStart = at + (kind === 'tree' ? treeMode.length : blobMode.length);
    const nameEnd = endOfName(body, nameStart);
    const idStart = nameEnd + 1;
    if (nameEnd - nameStart === name.length && matches(body, nameStart, name)) {
      return { name, kind, id: toHex(body.subarray(idStart, idStart + idBytes)) };
    }
    at = idStart + idBytes;
  }
  return undefined;
}

/** How many entries a tree body has, or how many with a name that `counts`. */
export function countEntries(body: Uint8Array, counts?: (name: string) => boolean): number {
  let count = 0;
  for (let at = 0; at < body.length; ) {
    const position = readEntry(body, at);
    if (counts === undefined || counts(nameAt(body, position))) count++;
    at = position.idStart + idBytes;
  }
  return count;
}

/**
 * Finds entries of one body by name: by scanning for a few look-ups, by a table for many. The body must have passed
 * `checkTree` or have come out of `encodeTree`.
 */
export function entryFinder(body: Uint8Array, lookups: number): (name: string) => TreeEntry | undefined {
  if (lookups <= 8) return (name) => findEntry(body, name);
  const positions = new Map<string, EntryPosition>();
  for (let at = 0; at < body.length; ) {
    const position = readEntry(body, at);
    positions.set(nameAt(body, position), position);
    at = position.idStart + idBytes;
  }
  return (name) => {
    const position = positions.get(name);
    return position === undefined ? undefined : { name, kind: position.kind, id: idAt(body, position) };
  };
}

/** One edit of a tree: an entry put in (or replaced) or, by name, taken out. */
export type TreeEdit = TreeEntry | { readonly name: string; readonly remove: true };

/**
 * The body with `edits` applied: copies runs of untouched entries, so that one change in a directory of thousands costs
 * a copy of its bytes rather than decoding and sorting it again. Equal to decoding, changing and encoding.
 * @param edits  at most one for a name; removing what is absent does nothing
 */
export function editTree(body: Uint8Array, edits: readonly TreeEdit[]): Uint8Array {
  const touched = new Set<string>();
  const inserts: TreeEntry[] = [];
  let size = body.length;
  for (const edit of edits) {
    if (touched.has(edit.name)) throw malformed('tree edit', `two edits of \`${edit.name}\``);
    touched.add(edit.name);
    if ('remove' in edit) continue;
    if (!isEntryName(edit.name)) throw malformed('tree', `bad name \`${edit.name}\``);
    inserts.push(edit);
    size += entrySize(edit);
  }
  inserts.sort(compareEntries);
  const keys = inserts.map((entry) => encodeName(entry.kind === 'tree' ? `${entry.name}/` : entry.name));
  const byLength = new Map<number, string[]>();
  for (const name of touched) {
    const names = byLength.get(name.length);
    if (names === undefined) byLength.set(name.length, [name]);
    else names.push(name);
  }
  const isTouched = (nameStart: number, nameEnd: number): boolean => {
    const names = byLength.get(nameEnd - nameStart);
    if (names === undefined) return false;
    if (names.length > 4) return touched.has(nameBetween(body, nameStart, nameEnd));
    return names.some((name) => matches(body, nameStart, name));
  };
  const result = new Uint8Array(size);
  let written = 0;
  let copied = 0; // bytes of `body` before this are in `result` or dropped
  let next = 0;
  for (let at = 0; at < body.length; ) {
    const isTree = body[at] === treeMode[0];
    const nameStart = at + (isTree ? treeMode.length : blobMode.length);
    const nameEnd = endOfName(body, nameStart);
    const end = nameEnd + 1 + idBytes;
    while (next < inserts.length && sortsBefore(keys[next]!, body, nameStart, nameEnd, isTree)) {
      result.set(body.subarray(copied, at), written);
      written = writeEntry(result, written + at - copied, inserts[next++]!);
      copied = at;
    }
    if (isTouched(nameStart, nameEnd)) {
      result.set(body.subarray(copied, at), written);
      written += at - copied;
      copied = end;
    }
    at = end;
  }
  result.set(body.subarray(copied), written);
  written += body.length - copied;
  while (next < inserts.length) written = writeEntry(result, written, inserts[next++]!);
  return written === result.length ? result : result.slice(0, written);
}

/** Whether a name, with a tree's slash, comes before or at the entry whose name stands there. */
function sortsBefore(key: Uint8Array, body: Uint8Array, nameStart: number, nameEnd: number, isTree: boolean): boolean {
  const length = nameEnd - nameStart;
  const slash = isTree ? 1 : 0;
  for (let i = 0; i < key.length && i < length + slash; i++) {
    const difference = key[i]! - (i < length ? body[nameStart + i]! : 0x2f);
    if (difference !== 0) return difference < 0;
  }
  return key.length <= length + slash;
}

function encodeName(name: string): Uint8Array {
  const bytes = new Uint8Array(name.length);
  for (let i = 0; i < name.length; i++) bytes[i] = name.charCodeAt(i);
  return bytes;
}

/** Hexadecimal id of an entry found by a scan. */
export function idAt(body: Uint8Array, position: EntryPosition): string {
  return toHex(body.subarray(position.idStart, position.idStart + idBytes));
}

function entrySize(entry: TreeEntry): number {
  return (entry.kind === 'tree' ? treeMode.length : blobMode.length) + entry.name.length + 1 + idBytes;
}

function writeEntry(body: Uint8Array, at: number, entry: TreeEntry): number {
  if (entry.id.length !== 2 * idBytes) throw malformed('tree', `bad id for \`${entry.name}\``);
  const mode = entry.kind === 'tree' ? treeMode : blobMode;
  for (let i = 0; i < mode.length; i++) body[at++] = mode[i]!;
  for (let i = 0; i < entry.name.length; i++) body[at++] = entry.name.charCodeAt(i);
  body[at++] = 0;
  body.set(fromHex(entry.id), at);
  return at + idBytes;
}

function readEntry(body: Uint8Array, start: number): EntryPosition {
  const kind: EntryKind = body[start] === treeMode[0] ? 'tree' : 'blob';
  const mode = kind === 'tree' ? treeMode : blobMode;
  for (let i = 0; i < mode.length; i++) {
    if (body[start + i] !== mode[i]) throw malformed('tree', 'a mode other than 100644 and 40000');
  }
  const nameStart = start + mode.length;
  const nameEnd = endOfName(body, nameStart);
  return { kind, start, nameStart, nameEnd, idStart: nameEnd + 1 };
}

/** Where a name ends. @throws IpeError `corrupt` where the entry is cut short: a scan could not end */
function endOfName(body: Uint8Array, nameStart: number): number {
  const nameEnd = body.indexOf(0, nameStart);
  if (nameEnd < 0 || nameEnd + 1 + idBytes > body.length) throw malformed('tree', 'it ends within an entry');
  return nameEnd;
}

function nameAt(body: Uint8Array, position: EntryPosition): string {
  return nameBetween(body, position.nameStart, position.nameEnd);
}

function nameBetween(body: Uint8Array, start: number, end: number): string {
  return String.fromCharCode.apply(null, body.subarray(start, end) as unknown as number[]);
}

function matches(body: Uint8Array, at: number, name: string): boolean {
  for (let i = 0; i < name.length; i++) if (body[at + i] !== name.charCodeAt(i)) return false;
  return true;
}

function printable(name: string): string {
  return name.replace(/[^\x20-\x7e]/g, '?').slice(0, 64);
}
