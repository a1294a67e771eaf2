import { type LevelWithSilent, type Logger, pino } from 'pino';

export type { Logger } from 'pino';

export interface LoggerOptions {
  readonly level: LevelWithSilent;
  readonly format: 'json' | 'pretty';
  /** Where lines go; default standard error, because standard output belongs to the command. */
  readonly write?: (line: string) => void;
}

/** The node's log. Decisions are never logged one by one above `debug`: a line costs several microseconds. */
export function createLogger({
  level,
  format,
  write = (line) => void process.stderr.write(line),
}: LoggerOptions): Logger {
  const sink = format === 'json' ? write : (line: string) => write(prettyLine(line));
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: ['token', 'authorization', '*.token', '*.authorization'],
    },
    { write: sink },
  );
}

/** A log line for people: time, level, message, then the other fields. */
function prettyLine(line: string): string {
  const { time, level, msg, err, ...rest } = JSON.parse(line) as Record<string, unknown> & { err?: { stack?: string } };
  const fields = Object.entries(rest).map(
    ([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const stack = err?.stack === undefined ? '' : `\n${err.stack}`;
  return `${String(time).slice(11, 23)} ${String(level).toUpperCase().padEnd(5)} ${[msg ?? '', ...fields].join('  ')}${stack}\n`;
}
