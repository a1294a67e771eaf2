import type { Span } from './ast.ts';
import { matchBrackets, type Token } from './lexer.ts';

/** Finds the stretch of text of each node from the single offset the parser keeps for it. */
export class SpanFinder {
  readonly #text: string;
  readonly #tokens: readonly Token[];
  readonly #partner: Int32Array;
  readonly #lineStarts: readonly number[];

  constructor(text: string, tokens: readonly Token[]) {
    this.#text = text;
    this.#tokens = tokens;
    this.#partner = matchBrackets(text, tokens);
    this.#lineStarts = lineStarts(text);
  }

  /** Index of the first token at or after `offset`: the parser counts white space before an operator as its beginning. */
  tokenAt(offset: number): number {
    let low = 0;
    let high = this.#tokens.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#tokens[middle]!.start >= offset) high = middle;
      else low = middle + 1;
    }
    return Math.max(low, 0);
  }

  word(index: number): string {
    const token = this.#tokens[index];
    return token === undefined ? '' : this.#text.slice(token.start, token.end);
  }

  kind(index: number): Token['kind'] | null {
    return this.#tokens[index]?.kind ?? null;
  }

  /** Index of the bracket that closes the first `bracket` at or after token `from`. */
  closing(from: number, bracket: string): number {
    let index = from;
    while (index < this.#tokens.length && this.word(index) !== bracket) index++;
    return Math.max(this.#partner[index] ?? index, from);
  }

  /** Widens a range of tokens until every bracket inside has its partner inside: parentheses around operands. */
  balance(first: number, last: number): readonly [number, number] {
    let from = first;
    let to = last;
    for (let i = from; i <= to; i++) {
      const partner = this.#partner[i]!;
      if (partner === -1) continue;
      if (partner < from) from = partner;
      if (partner > to) to = partner;
    }
    return [from, to];
  }

  span(first: number, last: number): Span {
    const offset = this.#tokens[first]?.start ?? 0;
    return this.place(offset, (this.#tokens[last]?.end ?? offset) - offset);
  }

  place(offset: number, length: number): Span {
    return placeOf(this.#lineStarts, offset, length);
  }
}

/** The span of `length` units at `offset` of `text`, with line and column. */
export function spanIn(text: string, offset: number, length: number): Span {
  return placeOf(lineStarts(text), offset, length);
}

function placeOf(starts: readonly number[], offset: number, length: number): Span {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (starts[middle]! <= offset) low = middle;
    else high = middle - 1;
  }
  return { offset, length, line: low + 1, column: offset - starts[low]! + 1 };
}

function lineStarts(text: string): readonly number[] {
  const starts = [0];
  for (const match of text.matchAll(/\r\n|\r|\n/g)) starts.push(match.index + match[0].length);
  return starts;
}
