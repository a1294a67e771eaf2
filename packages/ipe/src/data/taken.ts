import type { Failure, Write, WriteOutcome, WriteRefused, WriteRequest, WriteResult } from '@ipe/core/replica';

/**
 * Submits what of a request is taken, and answers for the rest: writes that stand alone are refused one by one, a
 * transaction as a whole, and so is a request of which nothing is taken.
 * @param refuses why writes to a namespace are not taken; asked once for each run of writes to one
 * @param submit is given the writes that are taken, in their order
 */
export async function submitTaken(
  request: WriteRequest,
  refuses: (namespace: string) => Failure | undefined,
  submit: (taken: WriteRequest) => Promise<WriteOutcome>,
): Promise<WriteOutcome> {
  const refused = refusedWrites(request.writes, refuses);
  const [first] = refused.values();
  if (first === undefined) return submit(request);
  if (request.atomic || request.writes.every((write) => refused.has(write))) return { ok: false, failure: first };
  const outcome = await submit({ ...request, writes: request.writes.filter((write) => !refused.has(write)) });
  if (!outcome.ok) return outcome;
  const results = outcome.results.values();
  return {
    ok: true,
    results: request.writes.map((write): WriteResult => {
      const failure = refused.get(write);
      return failure === undefined ? results.next().value! : refusalOf(write, failure);
    }),
  };
}

function refusedWrites(
  writes: readonly Write[],
  refuses: (namespace: string) => Failure | undefined,
): ReadonlyMap<Write, Failure> {
  const refused = new Map<Write, Failure>();
  let asked: string | undefined;
  let failure: Failure | undefined;
  for (const write of writes) {
    if (write.namespace !== asked) failure = refuses((asked = write.namespace));
    if (failure !== undefined) refused.set(write, failure);
  }
  return refused;
}

function refusalOf({ key }: Write, { reason, message, details }: Failure): WriteRefused {
  return { ok: false, key, reason, message, ...(details && { details }) };
}
