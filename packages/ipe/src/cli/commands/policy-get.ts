import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { shortId } from '../output.ts';
import { given } from '../values.ts';

interface Options extends NodeOptions {
  readonly root?: string;
  readonly source?: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<path>', 'such as prod.deployment.approval')
    .option('--root <root>', 'at this root, commit, version or ref')
    .option('--source', 'print the YAML alone')
    .addHelpText(
      'after',
      '\nExamples:\n  ipe policy get prod.deployment.approval\n  ipe policy get prod.deployment.approval --source > approval.policy.yaml',
    )
    .action(async (path: string, options: Options) => {
      const policy = await withPlane(cli, options, 'control', ({ control }) =>
        control.call('get-policy', given({ path, root: options.root, source: true })),
      );
      if (options.source && !options.json) return cli.out.raw(policy.source ?? '');
      cli.show(options, policy, () => {
        cli.out.pairs([
          ['path', policy.path],
          ['version', shortId(policy.version)],
          ['updated', `${cli.out.age(policy.updated_at)} ago`],
        ]);
        cli.out.line();
        cli.out.raw(policy.source ?? '');
      });
    });
}
