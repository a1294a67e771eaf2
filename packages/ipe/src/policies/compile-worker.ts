import { parentPort } from 'node:worker_threads';
import { nodePrimitives } from '../repository/primitives.ts';
import { textCompiler } from './compile-text.ts';
import { serveCompiler } from './serve.ts';

if (parentPort !== null) serveCompiler(parentPort, textCompiler(nodePrimitives));
