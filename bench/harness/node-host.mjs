// Runs a node in this process until SIGTERM; tells its parent where and how to reach it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfig } from '../../packages/ipe/dist/config/index.js';
import { startNode } from '../../packages/ipe/dist/node/start.js';
import { createLogger } from '../../packages/ipe/dist/telemetry/logger.js';

const [directory, configuration] = process.argv.slice(2);
const node = await startNode({
  directory: join(directory, 'state'),
  config: await loadConfig({ file: configuration }),
  version: 'bench',
  log: createLogger({ level: 'error', format: 'json' }),
});
const tokens = JSON.parse(readFileSync(node.credentials.path, 'utf8'));
process.on('SIGTERM', async () => {
  await node.close();
  process.exit(0);
});
process.send({ addresses: node.addresses, tokens });
