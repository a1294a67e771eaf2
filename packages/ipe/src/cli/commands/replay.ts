import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { given, parseJson } from '../values.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<receipt>', 'file with a receipt, or with a decision that holds one, or `-`')
    .option('--root <root>', "decide at this root, commit or ref in place of the receipt's")
    .addHelpText(
      'after',
      `
A full receipt carries its request and facts and can be replayed anywhere, any day; others need the versions to be held
still. Exits with 1 when the decision, or what it rests on, is another.

Examples:
  ipe eval prod --input request.json --receipt full --json > decision.json
  ipe replay decision.json
  ipe replay decision.json --root staging`,
    )
    .action(async (file: string, options: NodeOptions & { root?: string }) => {
      const document = parseJson(await cli.readInput(file), `\`${file}\``);
      const receipt =
        typeof document === 'object' && document !== null && 'receipt' in document ? document.receipt : document;
      const result = await withPlane(cli, options, 'evaluation', ({ evaluation }) =>
        evaluation.call('replay', given({ receipt, root: options.root })),
      );
      cli.show(options, result, () => {
        const { color } = cli.out;
        cli.out.line(
          `${color.bold(result.decision)}  ${result.same ? color.green('the same') : color.yellow('differs')}`,
        );
        for (const difference of result.differences) cli.out.line(`  ${JSON.stringify(difference)}`);
        cli.out.line(
          color.dim(
            `facts: ${result.facts === 'receipt' ? 'from the receipt' : 'as held now'}, signature: ${result.signature}`,
          ),
        );
      });
      if (!result.same) cli.exitCode = 1;
    });
}
