/**
 * Tokens of CEL text. The grammar is the parser library's; tokens serve what it does not give: spans, limits checked
 * before it recurses, readable syntax errors, and the marks it does not know (comments in a row, `.?`, `[?`, backticks).
 * Source: cel-spec, langdef.md, "Syntax".
 */
export interface Token {
  readonly kind: TokenKind;
  readonly start: number;
  /** Offset after the last character. */
  readonly end: number;
}

export type TokenKind =
  | 'name'
  | 'quoted-name'
  | 'number'
  | 'string'
  | 'punctuation'
  /** The `?` of `a.?b`, `a[?b]`, `[?a]` and `{?a: b}`. */
  | 'optional-mark'
  | 'unterminated'
  /** A backslash in a string that escapes nothing. */
  | 'bad-escape'
  | 'invalid';

export interface Lexed {
  readonly tokens: readonly Token[];
  readonly comments: readonly { readonly start: number; readonly end: number }[];
}

const space = /[\t\n\f\r ]+/y;
const comment = /\/\/[^\r\n]*/y;
const name = /[_a-zA-Z][_a-zA-Z0-9]*/y;
const quotedName = /`[a-zA-Z0-9_.\-/ ]+`/y;
const number = /0[xX][0-9a-fA-F]+[uU]?|(?:[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?)[uU]?/y;
const stringStart = /(?:[rR][bB]?|[bB][rR]?)?("""|'''|"|')/y;
const punctuation = /&&|\|\||[=!<>]=|[<>+\-*/%!?:.,()[\]{}]/y;
const optionalBefore = new Set(['.', '[', '{', ',']);

/** Splits `text` into tokens; never fails: what fits nowhere becomes `invalid` or `unterminated`. Linear in the text. */
export function lex(text: string): Lexed {
  const tokens: Token[] = [];
  const comments: { start: number; end: number }[] = [];
  let at = 0;
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    return pattern.test(text);
  };
  const push = (kind: TokenKind, end: number): void => {
    tokens.push({ kind, start: at, end });
    at = end;
  };
  while (at < text.length) {
    if (take(space)) at = space.lastIndex;
    else if (take(comment)) {
      comments.push({ start: at, end: comment.lastIndex });
      at = comment.lastIndex;
    } else if (take(stringStart)) {
      const end = stringEnd(text, at, stringStart.lastIndex);
      const bad = end === -1 ? null : badEscape(text.slice(at, end));
      if (bad !== null) tokens.push({ kind: 'bad-escape', start: at + bad, end: at + bad + 2 });
      push(end === -1 ? 'unterminated' : 'string', end === -1 ? lineEnd(text, at) : end);
    } else if (take(name)) push('name', name.lastIndex);
    else if (take(quotedName)) push('quoted-name', quotedName.lastIndex);
    else if (startsNumber(text, at, tokens) && take(number)) push('number', number.lastIndex);
    else if (take(punctuation)) {
      const last = tokens.at(-1);
      const mark =
        text[at] === '?' && last?.kind === 'punctuation' && optionalBefore.has(text.slice(last.start, last.end));
      push(mark ? 'optional-mark' : 'punctuation', punctuation.lastIndex);
    } else push('invalid', at + (text.codePointAt(at)! > 0xffff ? 2 : 1));
  }
  return { tokens, comments };
}

/** `.5` is a number, but not in `a.5` or `a[0].5`. */
function startsNumber(text: string, at: number, tokens: readonly Token[]): boolean {
  if (text[at] !== '.') return true;
  const last = tokens.at(-1);
  if (last === undefined || last.end !== at) return true;
  return last.kind === 'punctuation' && !')]}'.includes(text[last.start]!);
}

function stringEnd(text: string, start: number, bodyStart: number): number {
  const prefix = text.slice(start, bodyStart);
  const raw = /[rR]/.test(prefix);
  const quote = prefix.replace(/^[a-zA-Z]+/, '');
  for (let i = bodyStart; i < text.length; i++) {
    const char = text[i]!;
    if (!raw && char === '\\') i++;
    else if (quote.length === 1 && (char === '\n' || char === '\r')) return -1;
    else if (text.startsWith(quote, i)) return i + quote.length;
  }
  return -1;
}

const escapes = /\\(?:[abfnrtv\\?"'`]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2})|\\/g;

/** Where a string literal has a backslash that escapes nothing; null in a sound one, and in a raw one. */
function badEscape(literal: string): number | null {
  if (/^[bB]?[rR]/.test(literal)) return null;
  for (const match of literal.matchAll(escapes)) if (match[0].length === 1) return match.index;
  return null;
}

function lineEnd(text: string, at: number): number {
  let end = at;
  while (end < text.length && text[end] !== '\n' && text[end] !== '\r') end++;
  return end;
}

/**
 * For every bracket token the index of its partner; -1 for a bracket without one and for other tokens.
 * A closing bracket of another kind leaves both unmatched.
 */
export function matchBrackets(text: string, tokens: readonly Token[]): Int32Array {
  const partner = new Int32Array(tokens.length).fill(-1);
  const open: number[] = [];
  tokens.forEach((token, index) => {
    if (token.kind !== 'punctuation') return;
    const char = text[token.start]!;
    if ('([{'.includes(char)) open.push(index);
    else if (')]}'.includes(char)) {
      const from = open.at(-1);
      if (from === undefined || '([{'.indexOf(text[tokens[from]!.start]!) !== ')]}'.indexOf(char)) return;
      open.pop();
      partner[from] = index;
      partner[index] = from;
    }
  });
  return partner;
}

/** Whether the text has comments, which a canonical form would lose. */
export function hasComments(text: string): boolean {
  return lex(text).comments.length > 0;
}
