import { parentPort } from 'node:worker_threads';
import { compileText } from './compile-text.ts';
import { serveCompiler } from './serve.ts';

if (parentPort !== null) serveCompiler(parentPort, compileText);
