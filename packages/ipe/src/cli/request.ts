import type { AccessRequest, Json } from '@ipe/client/protocol';
import { IpeError } from '@ipe/core';
import type { Cli } from './cli.ts';
import { UsageError } from './failure.ts';
import { parseJson } from './values.ts';

/** How a question is put on the command line. */
export interface RequestOptions {
  readonly subject?: string;
  readonly action?: string;
  readonly resource?: string;
  readonly property?: string[];
  readonly input?: string;
}

type Draft = Record<string, Record<string, Json>>;

/**
 * The question: `--input` as a whole or in part, then what the options say on top of it.
 * @throws UsageError where subject, action or resource are missing, or an option cannot be read
 */
export async function readAccessRequest(cli: Cli, options: RequestOptions): Promise<AccessRequest> {
  const request = options.input === undefined ? {} : await inputOf(cli, options.input);
  if (options.subject !== undefined)
    request['subject'] = { ...request['subject'], ...party('--subject', options.subject) };
  if (options.action !== undefined) request['action'] = { ...request['action'], name: options.action };
  if (options.resource !== undefined)
    request['resource'] = { ...request['resource'], ...party('--resource', options.resource) };
  for (const property of options.property ?? []) setProperty(request, property);
  for (const part of ['subject', 'action', 'resource'])
    if (request[part] === undefined) throw new UsageError(`say who asks for what: --${part} is missing (or --input)`);
  return request as never;
}

async function inputOf(cli: Cli, file: string): Promise<Draft> {
  const value = parseJson(await cli.readInput(file), `\`${file}\``);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new IpeError('invalid_params', `\`${file}\` must hold an object with subject, action and resource`);
  return { ...value } as never;
}

/** `user:alice`, split at the first colon: ids may hold others. */
function party(option: string, text: string): { type: string; id: string } {
  const at = text.indexOf(':');
  if (at < 1 || at === text.length - 1)
    throw new UsageError(`${option} takes type:id, such as user:alice, not \`${text}\``);
  return { type: text.slice(0, at), id: text.slice(at + 1) };
}

/** `resource.environment=production` sets a property, `context.ip=10.0.0.1` a field of the context. */
function setProperty(request: Draft, text: string): void {
  const match = /^(subject|action|resource|context)\.([^=]+)=(.*)$/s.exec(text);
  if (match === null)
    throw new UsageError(`--property takes subject.name=value, action.…, resource.… or context.…, not \`${text}\``);
  const [, part, name, given] = match as unknown as [string, string, string, string];
  const value = literal(given);
  const target = { ...request[part] };
  if (part === 'context') target[name] = value;
  else target['properties'] = { ...(target['properties'] as object | undefined), [name]: value };
  request[part] = target;
}

/** JSON where it is JSON, else text. */
function literal(text: string): Json {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
