import { IpeError } from '@ipe/core';
import { Argument, type Command } from 'commander';
import type { Cli } from '../cli.ts';
import { commands, groups } from '../registry.ts';

export function define(command: Command, cli: Cli): void {
  command
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash', 'zsh', 'fish']))
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  source <(ipe completion bash)                                   # in ~/.bashrc
  source <(ipe completion zsh)                                    # in ~/.zshrc
  ipe completion fish > ~/.config/fish/completions/ipe.fish`,
    )
    .action((shell: string, options: { json?: boolean }) => {
      const make = scripts[shell];
      if (make === undefined) throw new IpeError('invalid_params', `no completion for \`${shell}\``);
      const script = make();
      cli.show(options, { shell, script }, () => cli.out.raw(script));
    });
}

interface Word {
  readonly name: string;
  readonly summary: string;
}

/** Words after `ipe`, and after each group. */
function words(group?: string): Word[] {
  if (group !== undefined)
    return commands
      .filter(({ path }) => path.startsWith(`${group} `))
      .map(({ path, summary }) => ({ name: path.slice(group.length + 1), summary }));
  const alone = commands
    .filter(({ path }) => !path.includes(' '))
    .map(({ path, summary }) => ({ name: path, summary }));
  const grouped = Object.entries(groups).map(([name, summary]) => ({ name, summary }));
  return [...alone, ...grouped.filter(({ name }) => words(name).length > 0)];
}

const usedGroups = () => Object.keys(groups).filter((group) => words(group).length > 0);

const scripts: Readonly<Record<string, () => string>> = {
  bash: () => `# bash completion for ipe
_ipe() {
  local current="\${COMP_WORDS[COMP_CWORD]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${names(words())}" -- "$current"))
    return
  fi
  if [ "$COMP_CWORD" -eq 2 ]; then
    case "\${COMP_WORDS[1]}" in
${usedGroups()
  .map((group) => `      ${group}) COMPREPLY=($(compgen -W "${names(words(group))}" -- "$current")); return ;;`)
  .join('\n')}
    esac
  fi
  COMPREPLY=($(compgen -f -- "$current"))
}
complete -o filenames -F _ipe ipe
`,
  zsh: () => `#compdef ipe
_ipe() {
  local -a words_
  if (( CURRENT == 2 )); then
    words_=(${described(words())})
    _describe command words_
    return
  fi
  if (( CURRENT == 3 )); then
    case "$words[2]" in
${usedGroups()
  .map((group) => `      ${group}) words_=(${described(words(group))}); _describe command words_; return ;;`)
  .join('\n')}
    esac
  fi
  _files
}
compdef _ipe ipe
`,
  fish: () =>
    [
      '# fish completion for ipe',
      ...words().map(
        ({ name, summary }) => `complete -c ipe -n __fish_use_subcommand -f -a ${name} -d ${quote(summary)}`,
      ),
      ...usedGroups().flatMap((group) =>
        words(group).map(
          ({ name, summary }) =>
            `complete -c ipe -n '__fish_seen_subcommand_from ${group}' -f -a ${name} -d ${quote(summary)}`,
        ),
      ),
      '',
    ].join('\n'),
};

const names = (list: readonly Word[]) => list.map(({ name }) => name).join(' ');
const described = (list: readonly Word[]) => list.map(({ name, summary }) => quote(`${name}:${summary}`)).join(' ');
const quote = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
