import type { MessagePort } from 'node:worker_threads';
import type { SliceAnswer, SliceRequest } from './compiler.ts';
import type { CompileText, TestText } from './types.ts';

/** The worker's side of a compiler: does each slice it is sent and answers it, until the port closes. */
export function serveCompiler(
  port: MessagePort,
  { compileText, testText }: { readonly compileText: CompileText; readonly testText: TestText },
): void {
  port.on('message', (request: SliceRequest) => {
    let answer: SliceAnswer;
    try {
      answer =
        request.programs === undefined
          ? { id: request.id, compiled: request.texts.map(compileText) }
          : { id: request.id, tests: request.texts.map((text) => testText(text, request.programs!)) };
    } catch (error) {
      answer = {
        id: request.id,
        failure: error instanceof Error ? (error.stack ?? error.message) : String(error),
      };
    }
    port.postMessage(answer);
  });
}
