import { decodeBase64, encodeBase64 } from '../../../bytes/base64.ts';
import { charge } from '../meter.ts';
import { CelError } from '../values.ts';
import type { FunctionTable } from './table.ts';

/** Base64. Source: cel-go, ext/encoders.go. */
export const encoderFunctions: FunctionTable = {
  unary: {
    'base64.encode': (value, meter) =>
      value instanceof Uint8Array ? (charge(meter, value.length >> 3) ?? encodeBase64(value)) : undefined,
    'base64.decode': (value, meter) => {
      if (typeof value !== 'string') return undefined;
      return (
        charge(meter, value.length >> 3) ?? decodeBase64(value) ?? new CelError('invalid_argument', 'not base64 text')
      );
    },
  },
};
