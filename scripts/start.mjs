// `npm start`: prepares, then runs a node on ./.ipe with the example policies and says what to try.
import { join, relative } from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { prepare, root } from './prepare.mjs';
import { nameMissingForRunning } from './system.mjs';

const question =
  'npx ipe eval prod.deployment.approval --subject user:carol --action deploy --resource deployment:d1 -p resource.environment=production';
const approvals =
  '{"approvers": [{"user": "alice", "role": "senior_engineer"}, {"user": "bob", "role": "senior_engineer"}]}';

/** @param args options of `ipe serve`, such as `--config` or `--dir` */
export async function start(args) {
  nameMissingForRunning();
  prepare();
  process.chdir(root);
  const compiled = (name) => import(pathToFileURL(join(root, 'packages', 'ipe', 'dist', 'cli', name)).href);
  const [{ main }, { processIo }] = await Promise.all([compiled('main.js'), compiled('io.js')]);
  process.exitCode = await main(['serve', '--apply', join('examples', 'policies'), ...args], {
    ...processIo(),
    onReady: ({ directory }) => {
      const where = relative(root, directory) === '.ipe' ? '' : `IPE_DIR=${directory} `;
      console.log(`
Try this in another terminal, in this folder:

  ${where}${question}
  ${where}npx ipe data put approvals.d1 '${approvals}'
  ${where}${question}

The first says deny, the last allow. README.md goes on from there; Ctrl-C stops the node.
`);
    },
  });
}
