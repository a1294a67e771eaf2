import { access, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { IpeError } from '@ipe/core';
import type { Command } from 'commander';
import type { Cli } from '../cli.ts';

export function define(command: Command, cli: Cli): void {
  command
    .argument('[folder]', 'where to, made where it is absent', '.')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nWrites a configuration and a first policy with its tests. Overwrites nothing.\n\nExample:\n  ipe init my-policies',
    )
    .action(async (folder: string, options: { json?: boolean }) => {
      const present: string[] = [];
      for (const name of Object.keys(files)) if (await exists(join(cli.path(folder), name))) present.push(name);
      if (present.length > 0)
        throw new IpeError(
          'conflict',
          `\`${folder}\` has ${present.map((name) => `\`${name}\``).join(', ')} already; nothing was written`,
          {
            details: { present },
          },
        );
      for (const [name, text] of Object.entries(files)) {
        const path = join(cli.path(folder), name);
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, text, { flag: 'wx' });
      }
      cli.show(options, { folder, files: Object.keys(files) }, () => {
        for (const name of Object.keys(files)) cli.out.line(`wrote ${join(folder, name)}`);
        cli.out.line(`\nNext:\n  cd ${folder}\n  ipe test policies\n  ipe serve --config ipe.toml --apply policies`);
      });
    });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

const files: Readonly<Record<string, string>> = {
  'ipe.toml': `# Every key with its meaning and default: docs/reference/config.md, or \`ipe config print\`.
# Any of them can be given in the environment too: IPE_OBSERVABILITY__LOG_LEVEL=debug

[predicate_service.data_plane]
durability = "fsync"        # or "wal": synced each second, faster

[evaluation_plane]
authzen_path = ""           # which directory AuthZEN requests ask; "" is all policies

# [control_plane.git_sync]
# repository = "https://example.com/policies.git"
# branch = "main"
# directory = "policies"
`,
  '.gitignore': '.ipe/\n',
  'policies/documents/edit.policy.yaml': `description: Owners and editors edit documents
matchConditions:
  - name: editing
    expression: resource.type == "document" && action.name in ["edit", "delete"]
variables:
  - name: editors
    expression: 'resource.id in data.documents ? data.documents[resource.id].editors : []'
validations:
  - expression: subject.id == resource.properties.owner || subject.id in variables.editors
    message: is neither owner nor editor
    messageExpression: 'subject.id + " is neither owner nor editor of " + resource.id'
    reason: not_an_editor
`,
  'policies/documents/edit.test.yaml': `data:
  documents.plan: {editors: [bob]}
request:
  subject: {type: user, id: bob}
  action: {name: edit}
  resource: {type: document, id: plan, properties: {owner: alice}}
tests:
  - name: an editor edits
    expect: {decision: allow}
  - name: the owner edits
    request:
      subject: {type: user, id: alice}
      action: {name: edit}
      resource: {type: document, id: plan, properties: {owner: alice}}
    expect: {decision: allow}
  - name: who is no longer an editor does not edit
    data: {documents.plan: {editors: []}}
    expect: {decision: deny, reasons: [not_an_editor]}
  - name: reading is not this policy's business
    request:
      subject: {type: user, id: mallory}
      action: {name: read}
      resource: {type: document, id: plan, properties: {owner: alice}}
    expect: {decision: not_applicable}
`,
};
