// How the examples find a node: its state directory in IPE_DIR (default .ipe), its tokens in credentials.json there.
// A real service gets one token of its own (`ipe token create`), and the path of one socket.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '@ipe/client';

const directory = process.env.IPE_DIR ?? '.ipe';
const credentials = JSON.parse(readFileSync(join(directory, 'credentials.json'), 'utf8'));

/** A client of the data plane: what a service writes facts with. */
export const facts = createClient({ socket: join(directory, 'run', 'data.sock'), token: credentials.service });

/** A client of the evaluation plane: what an application asks with. */
export const decisions = createClient({ socket: join(directory, 'run', 'eval.sock'), token: credentials.application });

/** Closes both. */
export function close() {
  facts.close();
  decisions.close();
}
