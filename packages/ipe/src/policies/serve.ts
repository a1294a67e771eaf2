import type { MessagePort } from 'node:worker_threads';
import type { SliceAnswer, SliceRequest } from './compiler.ts';
import type { CompileText } from './types.ts';

/** The worker's side of a compiler: compiles each slice it is sent and answers it, until the port closes. */
export function serveCompiler(port: MessagePort, compileText: CompileText): void {
  port.on('message', ({ id, texts }: SliceRequest) => {
    let answer: SliceAnswer;
    try {
      answer = { id, results: texts.map(compileText) };
    } catch (error) {
      answer = { id, failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
    port.postMessage(answer);
  });
}
