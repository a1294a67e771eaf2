import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { IpeError } from '@ipe/core';

/** A webhook as it arrived: the body is what was signed, byte for byte. */
export interface WebhookRequest {
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Uint8Array;
}

/** What a push says that matters here; the news itself is always read from the repository. */
export interface Push {
  readonly host: 'github' | 'gitlab';
  /** Branch pushed to, where the event names one. */
  readonly branch?: string;
  /** Whether the event is worth a look at the repository: pushes are, pings are not. */
  readonly news: boolean;
}

/**
 * Whether a webhook was sent by someone who knows `secret`: GitHub's `X-Hub-Signature-256` (HMAC-SHA-256 of the body; also
 * sent by Gitea and Forgejo) or GitLab's `X-Gitlab-Token` (the secret itself). Compared in constant time.
 */
export function isAuthentic(request: WebhookRequest, secret: string): boolean {
  if (secret === '') return false;
  const signature = request.headers['x-hub-signature-256'];
  if (signature !== undefined) {
    const expected = createHmac('sha256', secret).update(request.body).digest('hex');
    return equal(signature, `sha256=${expected}`);
  }
  const token = request.headers['x-gitlab-token'];
  return token !== undefined && equal(token, secret);
}

/** Hashed first, so that neither the comparison nor the lengths tell anything. */
function equal(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

/**
 * Reads what an authentic webhook says.
 * @throws IpeError `invalid_request` for an event that neither GitHub nor GitLab sends.
 */
export function readPush(request: WebhookRequest): Push {
  const github =
    request.headers['x-github-event'] ?? request.headers['x-gitea-event'] ?? request.headers['x-forgejo-event'];
  const gitlab = request.headers['x-gitlab-event'];
  if (github === undefined && gitlab === undefined)
    throw new IpeError('invalid_request', 'the webhook names no event; send `X-GitHub-Event` or `X-Gitlab-Event`');
  const host = github === undefined ? 'gitlab' : 'github';
  const news = github === undefined ? /^(?:Push|Tag Push|System) Hook$/.test(gitlab ?? '') : github === 'push';
  const branch = news ? branchOf(request) : undefined;
  return { host, news, ...(branch !== undefined && { branch }) };
}

function branchOf(request: WebhookRequest): string | undefined {
  const text = Buffer.from(request.body).toString('utf8');
  const form = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') === true;
  try {
    const payload = JSON.parse(form ? (new URLSearchParams(text).get('payload') ?? '') : text) as {
      ref?: unknown;
    } | null;
    const ref = payload?.ref;
    return typeof ref === 'string' ? /^refs\/(?:heads|tags)\/(.+)$/s.exec(ref)?.[1] : undefined;
  } catch {
    return undefined;
  }
}
