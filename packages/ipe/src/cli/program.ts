import { Command, type CommanderError } from 'commander';
import type { Cli } from './cli.ts';
import { type CommandEntry, commands, groups, sections } from './registry.ts';
import { version } from './version.ts';

/**
 * Builds the program for one command line: the command that is called is loaded whole, the others stand there with
 * name and summary, for help and suggestions.
 */
export async function buildProgram(cli: Cli, argv: readonly string[]): Promise<Command> {
  const program = base(new Command('ipe'), cli)
    .description('The Idempotent Predicate Engine: may this happen, given our policies and what we know?')
    .version(version, '-V, --version', 'print the version')
    .helpCommand('help [command]', 'explain a command')
    .addHelpText(
      'after',
      `\nStart a node with \`ipe serve\`. \`ipe help <command>\` explains a command, with examples.`,
    );
  const called = calledCommand(argv);
  for (const [heading, names] of Object.entries(sections)) {
    for (const name of names) {
      const summary = groups[name];
      if (summary !== undefined) await addGroup(program, name, summary, heading, called, cli);
      else {
        const entry = commands.find(({ path }) => path === name);
        if (entry !== undefined) await add(program, entry, called, cli).then((added) => added.helpGroup(`${heading}:`));
      }
    }
  }
  return program;
}

/** The entry that the words name, the longest first; options before it are passed over. */
function calledCommand(argv: readonly string[]): CommandEntry | undefined {
  const words = argv.filter((word) => !word.startsWith('-'));
  if (words[0] === 'help') words.shift();
  const two = words.slice(0, 2).join(' ');
  return commands.find(({ path }) => path === two) ?? commands.find(({ path }) => path === words[0]);
}

async function addGroup(
  program: Command,
  name: string,
  summary: string,
  heading: string,
  called: CommandEntry | undefined,
  cli: Cli,
): Promise<void> {
  const entries = commands.filter(({ path }) => path.startsWith(`${name} `));
  if (entries.length === 0) return;
  const group = base(program.command(name), cli).description(summary).helpGroup(`${heading}:`);
  for (const entry of entries) await add(group, entry, called, cli);
}

async function add(parent: Command, entry: CommandEntry, called: CommandEntry | undefined, cli: Cli): Promise<Command> {
  const command = base(parent.command(entry.path.split(' ').at(-1)!), cli).description(entry.summary);
  if (entry === called) (await entry.load()).define(command, cli);
  return command;
}

function base(command: Command, cli: Cli): Command {
  return command
    .exitOverride()
    .showSuggestionAfterError(true)
    .helpOption('-h, --help', 'explain this command')
    .configureHelp({ sortOptions: false, helpWidth: Math.min(cli.io.terminalColumns, 110) })
    .configureOutput({
      writeOut: (text) => void cli.io.stdout.write(text),
      writeErr: (text) => void cli.io.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error:/, cli.out.errorColor.red('error:'))),
    });
}

/** Commander ends by throwing; help and version are no failures. */
export function exitCodeOf(error: CommanderError): number {
  return error.exitCode === 0 ? 0 : 2;
}
