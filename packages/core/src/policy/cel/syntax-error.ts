import { matchBrackets, type Token } from './lexer.ts';

/** A syntax error worded for people: where, how long, and what to do. */
export interface SyntaxFault {
  readonly offset: number;
  readonly length: number;
  readonly message: string;
}

const reserved = new Set(
  'as break const continue else for function if import let loop package namespace return var void while'.split(' '),
);
const literalWords = new Set(['true', 'false', 'null']);
const instead: Readonly<Record<string, string>> = { and: '&&', or: '||', not: '!', AND: '&&', OR: '||', NOT: '!' };

/**
 * Says what is wrong with text the grammar refused. The parser reports the furthest place it reached, which is often
 * the token before the mistake; the tokens tell more.
 *
 * @param fallback where and what the parser itself said
 */
export function explainSyntaxError(text: string, tokens: readonly Token[], fallback: SyntaxFault): SyntaxFault {
  if (tokens.length === 0) return { offset: 0, length: 0, message: 'the expression is empty' };
  return (
    firstBadToken(text, tokens) ??
    firstBadBracket(text, tokens) ??
    firstBadNeighbour(text, tokens) ?? {
      ...fallback,
      message: fallback.message,
    }
  );
}

/** What the parser library would let pass, or null. */
export function findOverlooked(text: string, tokens: readonly Token[]): SyntaxFault | null {
  const partOfString = tokens.find((token) => token.kind === 'bad-escape');
  if (partOfString !== undefined) return firstBadToken(text, [partOfString]);
  for (const [index, token] of tokens.entries()) {
    if (token.kind !== 'quoted-name') continue;
    const word = (at: number): string => text.slice(tokens[at]?.start ?? 0, tokens[at]?.end ?? 0);
    const before = index === 0 ? '' : word(tokens[index - 1]!.kind === 'optional-mark' ? index - 2 : index - 1);
    if (before !== '.' || word(index + 1) === '(') return at(token, 'backticks quote field names only: `a.`b``');
  }
  return null;
}

function firstBadToken(text: string, tokens: readonly Token[]): SyntaxFault | null {
  for (const token of tokens) {
    if (token.kind === 'unterminated') return at(token, 'this string is not closed');
    if (token.kind === 'bad-escape')
      return at(token, `\`${text.slice(token.start, token.end)}\` escapes nothing; write \`\\\\\` for a backslash`);
    if (token.kind !== 'invalid') continue;
    const char = text.slice(token.start, token.end);
    if (char === '=') return at(token, '`=` is not an operator; write `==` to compare');
    if (char === '&' || char === '|') return at(token, `\`${char}\` is not an operator; write \`${char}${char}\``);
    if (char === '`')
      return at(token, 'a name in backticks holds letters, digits, `_`, `.`, `-`, `/` and spaces, and is closed');
    return at(token, `unexpected character \`${char}\``);
  }
  return null;
}

function firstBadBracket(text: string, tokens: readonly Token[]): SyntaxFault | null {
  const partner = matchBrackets(text, tokens);
  const wrong = tokens.findIndex(
    (token, index) => token.kind === 'punctuation' && '([{}])'.includes(text[token.start]!) && partner[index] === -1,
  );
  if (wrong === -1) return null;
  const char = text[tokens[wrong]!.start]!;
  if (')]}'.includes(char)) return at(tokens[wrong]!, `\`${char}\` closes nothing`);
  return at(tokens[wrong]!, `\`${char}\` is never closed`);
}

/** Walks the tokens, alternately expecting an operand and what may follow one. */
function firstBadNeighbour(text: string, tokens: readonly Token[]): SyntaxFault | null {
  let operandBefore = false;
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i]!;
    const word = text.slice(token.start, token.end);
    const before = i === 0 ? null : tokens[i - 1]!;
    const beforeWord = before === null ? '' : text.slice(before.start, before.end);
    const isOperator = token.kind === 'name' && word === 'in' && beforeWord !== '.';
    if (beforeWord === '.' && before?.kind === 'punctuation' && token.kind !== 'optional-mark') {
      if (token.kind !== 'name' && token.kind !== 'quoted-name') return at(before, 'expected a field name after `.`');
      if (word === 'in' || literalWords.has(word)) return at(token, `\`${word}\` is reserved; write \`["${word}"]\``);
      operandBefore = true;
    } else if (isOperator || (token.kind === 'punctuation' && !'([{!-.'.includes(word[0]!)) || word === '!=') {
      if (!operandBefore && !closesEmpty(word, beforeWord)) {
        return before === null
          ? at(token, `expected a value before \`${word}\``)
          : at(before, `expected a value after \`${beforeWord}\`, found \`${word}\``);
      }
      operandBefore = ')]}'.includes(word);
    } else if (token.kind === 'punctuation') {
      if (operandBefore && word === '!') return at(token, 'unexpected `!`; `!=` compares');
      operandBefore = false;
    } else if (token.kind !== 'optional-mark') {
      if (instead[word] !== undefined && tokens.length > 1 && beforeWord !== '.') {
        return at(token, `\`${word}\` is not an operator; write \`${instead[word]}\``);
      }
      if (operandBefore) return at(token, `expected an operator between \`${beforeWord}\` and \`${word}\``);
      if (token.kind === 'name' && reserved.has(word)) return at(token, `\`${word}\` is a reserved word`);
      if (token.kind === 'quoted-name') return at(token, 'backticks quote field names only: `a.`b``');
      operandBefore = true;
    }
  }
  const last = tokens.at(-1)!;
  return operandBefore ? null : at(last, `expected a value after \`${text.slice(last.start, last.end)}\``);
}

/** `()`, `[]`, `{}` and a trailing comma before `]` or `}` need no operand. */
function closesEmpty(word: string, beforeWord: string): boolean {
  if (word === ')') return beforeWord === '(';
  if (word === ']') return beforeWord === '[' || beforeWord === ',';
  if (word === '}') return beforeWord === '{' || beforeWord === ',';
  return word === ',' && (beforeWord === '[' || beforeWord === '{');
}

function at(token: Token, message: string): SyntaxFault {
  return { offset: token.start, length: token.end - token.start, message };
}
