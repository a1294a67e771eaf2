import { charge } from '../meter.ts';
import { CelError } from '../values.ts';
import type { FunctionTable } from './table.ts';

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Standard base64 with padding. Source: RFC 4648, section 4. */
function encode(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const group = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    text += alphabet[group >> 18]! + alphabet[(group >> 12) & 63]!;
    text += left > 1 ? alphabet[(group >> 6) & 63]! : '=';
    text += left > 2 ? alphabet[group & 63]! : '=';
  }
  return text;
}

/** Bytes of base64 text; padding may be left out, anything else malformed gives null. */
function decode(text: string): Uint8Array | null {
  const body = text.replace(/={1,2}$/, '');
  if (text.length !== body.length && text.length % 4 !== 0) return null;
  if (body.length % 4 === 1) return null;
  const bytes = new Uint8Array(Math.floor((body.length * 3) / 4));
  let bits = 0;
  let held = 0;
  let at = 0;
  for (const char of body) {
    const value = alphabet.indexOf(char);
    if (value === -1) return null;
    bits = ((bits << 6) | value) & 0xffff;
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes[at++] = (bits >> held) & 255;
    }
  }
  return bytes;
}

/** Base64. Source: cel-go, ext/encoders.go. */
export const encoderFunctions: FunctionTable = {
  unary: {
    'base64.encode': (value, meter) =>
      value instanceof Uint8Array ? (charge(meter, value.length >> 3) ?? encode(value)) : undefined,
    'base64.decode': (value, meter) => {
      if (typeof value !== 'string') return undefined;
      return charge(meter, value.length >> 3) ?? decode(value) ?? new CelError('invalid_argument', 'not base64 text');
    },
  },
};
