import type { Primitives } from '../bytes/index.ts';
import { IpeError } from '../errors.ts';
import { isObjectId, malformed } from './object.ts';

/** Who a commit is by. */
export interface Ident {
  readonly name: string;
  readonly email: string;
  /** Unix seconds; the time zone is always `+0000`. */
  readonly timeSeconds: number;
}

/** A commit of the profile: no headers besides these, UTF-8 message. */
export interface Commit {
  readonly tree: string;
  readonly parents: readonly string[];
  readonly author: Ident;
  readonly committer: Ident;
  /** Ends in a line feed; holds no NUL. */
  readonly message: string;
}

/** A `Key: value` line of a message's last paragraph. */
export type Trailer = readonly [key: string, value: string];

/** The body of a commit object. @throws IpeError `invalid_params` where a field cannot be written. */
export function encodeCommit(primitives: Primitives, commit: Commit): Uint8Array {
  for (const id of [commit.tree, ...commit.parents]) {
    if (!isObjectId(id)) throw new IpeError('invalid_params', `\`${id}\` is not an object id`);
  }
  if (commit.message.includes('\0') || !commit.message.endsWith('\n')) {
    throw new IpeError('invalid_params', 'a commit message holds no NUL and ends in a line feed');
  }
  const lines = [`tree ${commit.tree}`, ...commit.parents.map((id) => `parent ${id}`)];
  lines.push(`author ${encodeIdent(commit.author)}`, `committer ${encodeIdent(commit.committer)}`, '', commit.message);
  return primitives.utf8Encode(lines.join('\n'));
}

/** @throws IpeError `corrupt` for anything that `encodeCommit` would not have written. */
export function decodeCommit(primitives: Primitives, body: Uint8Array): Commit {
  let text: string;
  try {
    text = primitives.utf8Decode(body);
  } catch {
    throw malformed('commit', 'not UTF-8');
  }
  const end = text.indexOf('\n\n');
  if (end < 0) throw malformed('commit', 'no message');
  const lines = text.slice(0, end).split('\n');
  const message = text.slice(end + 2);
  if (message.includes('\0') || !message.endsWith('\n')) throw malformed('commit', 'its message');
  let at = 0;
  const take = (key: string): string | undefined => {
    const line = lines[at];
    if (line === undefined || !line.startsWith(`${key} `)) return undefined;
    at++;
    return line.slice(key.length + 1);
  };
  const tree = take('tree');
  const parents: string[] = [];
  for (let parent = take('parent'); parent !== undefined; parent = take('parent')) parents.push(parent);
  const author = take('author');
  const committer = take('committer');
  if (tree === undefined || author === undefined || committer === undefined || at !== lines.length) {
    throw malformed('commit', 'its headers are not tree, parent, author, committer');
  }
  for (const id of [tree, ...parents]) if (!isObjectId(id)) throw malformed('commit', 'a header holds no object id');
  return { tree, parents, author: decodeIdent(author), committer: decodeIdent(committer), message };
}

/** Tells whether a name or e-mail can be written in a commit. */
export function isIdentText(text: string): boolean {
  return !/[<>\n\r\0]/.test(text) && text.trim() === text;
}

function encodeIdent(ident: Ident): string {
  if (!isIdentText(ident.name) || !isIdentText(ident.email) || ident.name === '') {
    throw new IpeError(
      'invalid_params',
      `\`${ident.name} <${ident.email}>\` cannot be a commit's author: give a name, without \`<\`, \`>\` and line breaks`,
    );
  }
  if (!Number.isSafeInteger(ident.timeSeconds) || ident.timeSeconds < 0) {
    throw new IpeError('invalid_params', `\`${ident.timeSeconds}\` is not a time in whole seconds`);
  }
  return `${ident.name} <${ident.email}> ${ident.timeSeconds} +0000`;
}

function decodeIdent(text: string): Ident {
  const match = /^([^<>]+) <([^<>]*)> (0|[1-9][0-9]{0,14}) \+0000$/.exec(text);
  if (match === null || !isIdentText(match[1]!) || !isIdentText(match[2]!)) throw malformed('commit', 'its author');
  return { name: match[1]!, email: match[2]!, timeSeconds: Number(match[3]) };
}

const trailerLine = /^([A-Za-z][A-Za-z0-9-]*): (\S.*)$/;

/**
 * A commit message: `text`, then the trailers as its last paragraph.
 * @throws IpeError `invalid_params` for a trailer that would not read back as it was given
 */
export function composeMessage(text: string, trailers: readonly Trailer[] = []): string {
  const subject = text.replaceAll('\0', '').replaceAll('\r\n', '\n').trim();
  const lines = trailers.map(([key, value]) => `${key}: ${value.trim()}`);
  for (const line of lines) {
    if (!trailerLine.test(line)) throw new IpeError('invalid_params', `\`${line}\` cannot be a commit trailer`);
  }
  return `${[subject, lines.join('\n')].filter((part) => part !== '').join('\n\n')}\n`;
}

/** Splits a message into its text and the trailers of its last paragraph. */
export function parseMessage(message: string): { text: string; trailers: Trailer[] } {
  const whole = message.trimEnd();
  const start = whole.lastIndexOf('\n\n');
  const last = whole.slice(start < 0 ? 0 : start + 2).split('\n');
  const matches = last.map((line) => trailerLine.exec(line));
  if (matches.some((match) => match === null)) return { text: whole, trailers: [] };
  return { text: start < 0 ? '' : whole.slice(0, start), trailers: matches.map((match) => [match![1]!, match![2]!]) };
}
