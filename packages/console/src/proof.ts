import { isIpeError } from '@ipe/core';
import { type Proven, verifyProof } from '@ipe/core/tree';
import { primitives } from './primitives.ts';

/** What a person sees of a proof: what it proves, or why it proves nothing. */
export type Verdict =
  | { readonly kind: 'proven'; readonly proven: Proven; readonly nodes: number; readonly sizeBytes: number }
  | { readonly kind: 'refused'; readonly why: string };

/**
 * Checks what `ipe prove` printed against a root commit that the reader trusts, with core's own verifier: nothing is
 * sent anywhere, and nothing the node says is believed.
 * @param text JSON with `path` and base64 `nodes`
 * @param rootCommit 64 hexadecimal digits, from a source other than the proof
 */
export function judge(text: string, rootCommit: string): Verdict {
  let proof: { path: string; nodes: Uint8Array[] };
  try {
    proof = read(text);
  } catch (error) {
    return { kind: 'refused', why: `This is not a proof: ${(error as Error).message}.` };
  }
  try {
    const commit = rootCommit.trim();
    const proven = verifyProof(primitives, { ...proof, commit }, { rootCommit: commit });
    return {
      kind: 'proven',
      proven,
      nodes: proof.nodes.length,
      sizeBytes: proof.nodes.reduce((sum, node) => sum + node.length, 0),
    };
  } catch (error) {
    if (isIpeError(error)) return { kind: 'refused', why: sentence(error.message) };
    throw error;
  }
}

/** The commit that a proof itself names, to compare by eye with one from elsewhere; empty where there is none. */
export function claimedCommit(text: string): string {
  try {
    const { commit } = JSON.parse(text) as { commit?: unknown };
    return typeof commit === 'string' ? commit : '';
  } catch {
    return '';
  }
}

function read(text: string): { path: string; nodes: Uint8Array[] } {
  const value = JSON.parse(text) as { path?: unknown; nodes?: unknown };
  const { path, nodes } = value;
  if (typeof path !== 'string') throw new Error('it names no `path`');
  if (!Array.isArray(nodes) || !nodes.every((node) => typeof node === 'string')) {
    throw new Error('its `nodes` are not a list of base64 texts');
  }
  return { path, nodes: nodes.map((node) => Uint8Array.from(atob(node), (character) => character.charCodeAt(0))) };
}

const sentence = (message: string) => `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
