import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { IpeError } from '@ipe/core';

/** What is recorded: JSON, small, without secrets. */
export type AuditEvent = { readonly event: string } & Readonly<Record<string, unknown>>;

export interface AuditLogOptions {
  readonly directory: string;
  /** Size at which a file is closed and the next one begun. */
  readonly maxBytes: number;
  /** Files kept. */
  readonly keep: number;
  /** Unix milliseconds. */
  readonly now: () => number;
  /** Told when records could not be written; they are tried again with the next ones. */
  readonly onError: (error: unknown) => void;
  /**
   * Least time between two writes, milliseconds, default 100: what is appended meanwhile gathers, so that a busy node
   * does not sync its audit log as often as the disk can.
   */
  readonly gatherMs?: number;
}

/**
 * The audit trail: one JSON object a line, each with the hash of the line before it, so that a line cannot be changed,
 * removed or put in between without `verifyAudit` noticing. The first line of a file continues the chain of the file
 * before. What a chain cannot show is the loss of its newest lines: compare its end with one noted elsewhere.
 */
export interface AuditLog {
  /** Records an event. Never blocks and never throws; what gathers is written and synced together. */
  append(event: AuditEvent): void;
  /** Resolves once everything appended so far is on disk. */
  flush(): Promise<void>;
  /** Number and hash of the newest line. */
  readonly head: AuditHead;
  close(): Promise<void>;
}

/** A place in the chain. */
export interface AuditHead {
  readonly number: number;
  /** SHA-256 of the line, hexadecimal; of nothing before the first line. */
  readonly hash: string;
}

/** One line of the trail: its place in the chain, and the event. */
export interface AuditLine extends Readonly<Record<string, unknown>> {
  /** From 1, without gaps. */
  readonly n: number;
  /** ISO 8601. */
  readonly time: string;
  readonly previous: string;
}

/** Lines held while the disk refuses them; beyond it they are counted, and the count is recorded once it takes them again. */
const waitingMax = 10_000;

const genesis: AuditHead = { number: 0, hash: '0'.repeat(64) };
const filePattern = /^audit-(\d{12})\.ndjson$/;
const fileName = (firstNumber: number) => `audit-${String(firstNumber).padStart(12, '0')}.ndjson`;

/** Opens the trail and goes on after its last whole line; what a crash left of an unfinished one is cut off. */
export async function openAuditLog(options: AuditLogOptions): Promise<AuditLog> {
  const { directory, maxBytes, keep, now, onError, gatherMs = 100 } = options;
  await mkdir(directory, { recursive: true, mode: 0o700 });
  let { head, name, size } = await findEnd(directory);
  let waiting: string[] = [];
  let dropped = 0;
  let torn = false;
  let timer: NodeJS.Timeout | undefined;
  let lastWriteMs = Number.NEGATIVE_INFINITY;
  let writing = Promise.resolve();

  /** Writes as many of the lines as the file has room for, or a new one if it has none. @returns how many */
  const writeSome = async (lines: readonly string[]): Promise<number> => {
    if (size > 0 && size + Buffer.byteLength(lines[0]!) > maxBytes) {
      await removeOld(directory, keep - 1);
      name = fileName(numberOf(lines[0]!));
      size = 0;
    }
    const fitting = linesWithin(maxBytes - size, lines);
    const file = await open(join(directory, name), 'a', 0o600);
    try {
      // What a write that failed in the middle left behind would break the chain.
      if (torn) await file.truncate(size);
      torn = true;
      await file.writeFile(fitting.join(''));
      await file.datasync();
      torn = false;
    } finally {
      await file.close();
    }
    size += Buffer.byteLength(fitting.join(''));
    return fitting.length;
  };
  /** Writes what waits, if anything does. @returns whether the disk took it */
  const writeGroup = async (): Promise<boolean> => {
    const lines = waiting;
    if (lines.length === 0) return true;
    waiting = [];
    lastWriteMs = performance.now();
    let written = 0;
    try {
      while (written < lines.length) written += await writeSome(lines.slice(written));
      return true;
    } catch (error) {
      waiting = [...lines.slice(written), ...waiting];
      onError(error);
      return false;
    }
  };
  const writeAll = async (): Promise<void> => {
    while (waiting.length > 0) if (!(await writeGroup())) return;
  };
  const inTurn = (write: () => Promise<unknown>): Promise<void> => {
    writing = writing.then(write).then(() => {});
    return writing;
  };
  const flush = (): Promise<void> => {
    clearTimeout(timer);
    timer = undefined;
    return inTurn(writeAll);
  };
  const writeSoon = (): void => {
    timer ??= setTimeout(
      () => {
        timer = undefined;
        void inTurn(writeGroup);
      },
      Math.max(0, lastWriteMs + gatherMs - performance.now()),
    );
  };

  const append = (event: AuditEvent): void => {
    const time = new Date(now()).toISOString();
    const line = JSON.stringify({ n: head.number + 1, time, previous: head.hash, ...event } satisfies AuditLine);
    head = { number: head.number + 1, hash: hashOf(line) };
    waiting.push(`${line}\n`);
  };

  return {
    append: (event) => {
      if (waiting.length >= waitingMax) dropped++;
      else {
        if (dropped > 0) append({ event: 'dropped', records: dropped });
        dropped = 0;
        append(event);
      }
      writeSoon();
    },
    flush,
    get head() {
      return head;
    },
    close: flush,
  };
}

/** What is wrong with an audit trail, and where it ends. */
export interface AuditReport {
  readonly files: number;
  readonly lines: number;
  /** Number of the oldest line that is kept. */
  readonly first: number | undefined;
  readonly head: AuditHead;
  readonly problems: readonly { readonly file: string; readonly line: number; readonly message: string }[];
}

/** Follows the chain through every file. Reads only; works beside a running node. */
export async function verifyAudit(directory: string): Promise<AuditReport> {
  const problems: { file: string; line: number; message: string }[] = [];
  let expected: AuditHead | undefined;
  let lines = 0;
  let first: number | undefined;
  const names = await auditFiles(directory);
  for (const [index, file] of names.entries()) {
    const text = await readFile(join(directory, file), 'utf8');
    const rows = text.split('\n');
    const unfinished = rows.pop() ?? '';
    for (const [i, row] of rows.entries()) {
      const problem = (message: string) => problems.push({ file, line: i + 1, message });
      const line = parseLine(row);
      lines++;
      if (line === undefined) {
        problem('not a line of the audit log');
        expected = undefined;
        continue;
      }
      first ??= line.n;
      if (expected !== undefined && line.n !== expected.number + 1)
        problem(`number ${line.n} follows ${expected.number}: lines are missing or out of order`);
      else if (expected !== undefined && line.previous !== expected.hash)
        problem(`line ${line.n} does not continue the one before: one of them was changed`);
      else if (expected === undefined && line.n === 1 && line.previous !== genesis.hash)
        problem('the first line does not begin the chain');
      expected = { number: line.n, hash: hashOf(row) };
    }
    if (unfinished !== '' && index < names.length - 1)
      problems.push({ file, line: rows.length + 1, message: 'the last line is unfinished' });
  }
  return { files: names.length, lines, first, head: expected ?? genesis, problems };
}

/**
 * Lines after the one of that number, oldest first. Files that hold none of them are not opened; lines that are damaged
 * are passed over, for `verifyAudit` to report. Empty where there is no trail.
 */
export async function* auditLinesAfter(directory: string, number: number): AsyncGenerator<AuditLine> {
  const names = existsSync(directory) ? await auditFiles(directory) : [];
  for (const [index, name] of names.entries()) {
    const next = names[index + 1];
    if (next !== undefined && firstNumberOf(next) <= number + 1) continue;
    for await (const row of createInterface({ input: createReadStream(join(directory, name)), crlfDelay: Infinity })) {
      const line = parseLine(row);
      if (line !== undefined && line.n > number) yield line;
    }
  }
}

async function findEnd(directory: string): Promise<{ head: AuditHead; name: string; size: number }> {
  const name = (await auditFiles(directory)).at(-1);
  if (name === undefined) return { head: genesis, name: fileName(1), size: 0 };
  const path = join(directory, name);
  const bytes = await readFile(path);
  const whole = bytes.lastIndexOf(0x0a) + 1;
  if (whole < bytes.length) {
    const file = await open(path, 'r+');
    await file.truncate(whole).finally(() => file.close());
  }
  const rows = bytes.subarray(0, whole).toString('utf8').split('\n');
  rows.pop();
  const last = rows.at(-1);
  if (last === undefined) return { head: await headBefore(directory, name), name, size: 0 };
  const line = parseLine(last);
  if (line === undefined)
    throw new IpeError(
      'corrupt',
      `the audit log's last line in \`${path}\` is damaged; see \`ipe audit verify\`, then move the file away`,
      { details: { path } },
    );
  return { head: { number: line.n, hash: hashOf(last) }, name, size: whole };
}

/** The end of the file before `name`, for a file that a crash left empty. */
async function headBefore(directory: string, name: string): Promise<AuditHead> {
  const before = (await auditFiles(directory)).filter((each) => each < name).at(-1);
  if (before === undefined) return genesis;
  const last = (await readFile(join(directory, before), 'utf8')).trimEnd().split('\n').at(-1) ?? '';
  const line = parseLine(last);
  return line === undefined ? genesis : { number: line.n, hash: hashOf(last) };
}

async function auditFiles(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT')
      throw new IpeError('not_found', `there is no audit log in \`${directory}\``, { details: { directory } });
    throw error;
  });
  return names.filter((name) => filePattern.test(name)).sort();
}

async function removeOld(directory: string, keep: number): Promise<void> {
  const names = await auditFiles(directory);
  for (const name of names.slice(0, Math.max(0, names.length - keep))) await unlink(join(directory, name));
}

/** The first of the lines that together have no more bytes than that; one at least. */
function linesWithin(bytes: number, lines: readonly string[]): readonly string[] {
  let left = bytes;
  const end = lines.findIndex((line, i) => {
    left -= Buffer.byteLength(line);
    return left < 0 && i > 0;
  });
  return end < 0 ? lines : lines.slice(0, end);
}

function parseLine(text: string): AuditLine | undefined {
  try {
    const line = JSON.parse(text) as Partial<AuditLine>;
    return Number.isSafeInteger(line.n) && typeof line.previous === 'string' ? (line as AuditLine) : undefined;
  } catch {
    return undefined;
  }
}

const firstNumberOf = (name: string) => Number(filePattern.exec(name)![1]);
const numberOf = (line: string) => (JSON.parse(line) as AuditLine).n;
const hashOf = (line: string) => createHash('sha256').update(line, 'utf8').digest('hex');
