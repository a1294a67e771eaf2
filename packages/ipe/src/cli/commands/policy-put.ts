import type { Command } from 'commander';
import type { Cli } from '../cli.ts';
import { type NodeOptions, onNode, withPlane } from '../connect.ts';
import { renderProblem } from '../failure.ts';
import { shortId } from '../output.ts';
import { given } from '../values.ts';

interface Options extends NodeOptions {
  readonly test?: string;
  readonly message?: string;
  readonly ifVersion?: string;
  readonly ifAbsent?: boolean;
  readonly ref?: string;
  readonly force?: boolean;
}

export function define(command: Command, cli: Cli): void {
  onNode(command)
    .argument('<path>', 'such as prod.deployment.approval')
    .argument('<file>', 'the policy as YAML, or `-` for standard input')
    .option('--test <file>', 'its tests, as YAML')
    .option('-m, --message <text>', 'what changed and why')
    .option('--if-version <version>', 'only over this version')
    .option('--if-absent', 'only if there is none yet')
    .option('--ref <ref>', 'on this ref in place of main')
    .option('--force', 'also below a mirrored repository, until its next sync')
    .addHelpText(
      'after',
      '\nExample:\n  ipe policy put prod.deployment.approval approval.policy.yaml --test approval.test.yaml -m "two seniors"',
    )
    .action(async (path: string, file: string, options: Options) => {
      const source = await cli.readInput(file);
      const test = options.test === undefined ? undefined : await cli.readInput(options.test);
      const expected_version = options.ifAbsent ? null : options.ifVersion;
      const result = await withPlane(cli, options, 'control', ({ control }) =>
        control.call(
          'put-policy',
          given({
            path,
            source,
            test,
            expected_version,
            message: options.message,
            ref: options.ref,
            force: options.force,
          }),
        ),
      );
      cli.show(options, result, () => {
        for (const warning of result.warnings) for (const line of renderProblem(warning)) cli.out.note(line);
        cli.out.line(`wrote ${result.path}, version ${shortId(result.version)}, root ${shortId(result.root)}`);
      });
    });
}
