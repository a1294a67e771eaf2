import { join } from 'node:path';
import { isIpeError } from '@ipe/core';
import type { Command } from 'commander';
import { verifySignature } from '../../cluster/identity.ts';
import { type DecisionLogReport, verifyDecisionLog } from '../../evaluation/index.ts';
import { type AuditReport, verifyAudit } from '../../security/audit.ts';
import type { Cli } from '../cli.ts';
import { stateDirectory } from '../connect.ts';

export function define(command: Command, cli: Cli): void {
  command
    .argument('[folder]', "folder of audit files; absent: that of the node's state directory")
    .option('--dir <folder>', "the node's state directory (default: $IPE_DIR, else .ipe)")
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nChecks the chain of hashes from line to line and file to file, of the audit trail and of the decision log in its\nfolder `decisions`, whose segments are signed. Exits with 1 where something is broken.\n\nExample:\n  ipe audit verify --dir /var/lib/ipe',
    )
    .action(async (folder: string | undefined, options: { dir?: string; json?: boolean }) => {
      const directory = folder === undefined ? join(stateDirectory(cli, options), 'audit') : cli.path(folder);
      const report = await verifyAudit(directory);
      const decisions = await decisionsBelow(directory);
      cli.show(options, decisions === undefined ? report : { ...report, decisions }, () => {
        print(cli, '', report);
        if (decisions === undefined || decisions.lines === 0) return;
        print(cli, 'decisions ', decisions);
        cli.out.line(`  signed through line ${decisions.signedThrough} by ${decisions.keys.join(', ') || 'nobody'}`);
      });
      if (report.problems.length > 0 || (decisions?.problems.length ?? 0) > 0) cli.exitCode = 1;
    });
}

/** The decision log beside the trail, where there is one. */
async function decisionsBelow(directory: string): Promise<DecisionLogReport | undefined> {
  try {
    return await verifyDecisionLog(join(directory, 'decisions'), verifySignature);
  } catch (error) {
    if (isIpeError(error) && error.reason === 'not_found') return undefined;
    throw error;
  }
}

function print(cli: Cli, what: string, report: AuditReport): void {
  for (const { file, line, message } of report.problems)
    cli.out.line(`${file}:${line}: ${cli.out.color.red('broken:')} ${message}`);
  if (report.problems.length === 0)
    cli.out.line(
      `${what}${cli.out.color.green('unbroken')}, ${report.lines} lines in ${report.files} files, head ${report.head.number} ${report.head.hash.slice(0, 12)}`,
    );
}
