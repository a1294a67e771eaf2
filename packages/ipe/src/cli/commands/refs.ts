import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { shortId } from '../output.ts';

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .addHelpText(
      'after',
      `
\`main\` is what decisions are made against. Other branches begin where main is when
first written (\`ipe apply --ref staging\`) and reach it by \`ipe promote\`; pins never move.
A ref can be given wherever a root is asked for.

Examples:
  ipe refs
  ipe refs --json | jq -r '.[] | select(.kind == "pin").name'`,
    )
    .action(async (options: NodeOptions) => {
      const { refs } = await withPlane(cli, options, 'control', ({ control }) => control.call('refs', {}));
      cli.show(options, refs, () => {
        if (refs.length === 0) return cli.out.note('no refs yet; write policies with `ipe apply` or `ipe sync`');
        cli.out.table(
          ['REF', 'KIND', 'COMMIT', 'ROOT', 'WHEN'],
          refs.map((ref) => [
            cli.out.color.green(ref.name),
            ref.kind,
            cli.out.color.yellow(shortId(ref.commit)),
            shortId(ref.root),
            cli.out.age(ref.updated_at),
          ]),
        );
      });
    });
}
