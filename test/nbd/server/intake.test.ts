import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Command } from '../../../nbd/protocol/constants.ts';
import { encodeRequest, type Request } from '../../../nbd/protocol/request.ts';
import { type Admission, Intake } from '../../../nbd/server/intake.ts';

/** What an intake made of its input: requests with their payloads. */
class Taken {
  readonly requests: { readonly request: Request; readonly payload: string }[] = [];
  readonly refused: Request[] = [];
  readonly dropped: Request[] = [];
  readonly intake: Intake;

  constructor(admit: (request: Required<Request>) => Admission) {
    this.intake = new Intake({
      admit: (request) => {
        const admission = admit(request);
        if (admission === 'refuse') this.refused.push(request);
        return admission;
      },
      payloadBuffer: (length) => Buffer.alloc(length + 5),
      take: (request, payload) => void this.requests.push({ request, payload: payload.toString('hex') }),
      drop: (request) => void this.dropped.push(request),
    });
  }
}

const requests = fc.array(
  fc.record({ command: fc.constantFrom(Command.read, Command.write, Command.flush), length: fc.nat(100) }),
  { maxLength: 12 },
);

test('Intake gives the same requests however their bytes are cut, refused and kept waiting', () => {
  fc.assert(
    fc.property(requests, fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }), (list, cuts) => {
      const all = list.map(({ command, length }, i) => ({
        request: { flags: 0, command, cookie: BigInt(i), offset: i, length },
        payload: command === Command.write ? Buffer.alloc(length, i + 1) : Buffer.alloc(0),
      }));
      const stream = Buffer.concat(all.flatMap(({ request, payload }) => [encodeRequest(request), payload]));
      const waited = new Set<bigint>();
      const taken = new Taken(({ cookie }) => {
        // Every third waits once; every fifth is refused.
        if (cookie % 3n === 0n && !waited.has(cookie)) {
          waited.add(cookie);
          return 'wait';
        }
        return cookie % 5n === 0n ? 'refuse' : 'take';
      });
      for (let at = 0, i = 0; at < stream.length; i++) {
        const next = at + cuts[i % cuts.length]!;
        taken.intake.push(stream.subarray(at, next));
        if (i % 2 === 0) while (taken.intake.isWaiting) taken.intake.proceed();
        at = next;
      }
      while (taken.intake.isWaiting) taken.intake.proceed();
      const isRefused = (i: number) => i % 5 === 0;
      expect(taken.requests).toEqual(
        all
          .filter((_, i) => !isRefused(i))
          .map(({ request, payload }) => ({ request, payload: payload.toString('hex') })),
      );
      expect(taken.refused).toEqual(all.filter((_, i) => isRefused(i)).map(({ request }) => request));
      expect(taken.intake.isWithinRequest).toBe(false);
    }),
  );
});

test('Intake.end drops a write whose payload has not all come, once, and takes nothing more', () => {
  const write = { flags: 0, command: Command.write, cookie: 1n, offset: 0, length: 10 };
  const taken = new Taken(() => 'take');
  taken.intake.push(Buffer.concat([encodeRequest(write), Buffer.alloc(9)]));
  expect(taken.intake.isWithinRequest).toBe(true);
  taken.intake.end();
  taken.intake.end();
  taken.intake.push(Buffer.alloc(100));
  expect(taken.dropped).toEqual([write]);
  expect(taken.requests).toEqual([]);
});

test('Intake takes nothing behind the last request', () => {
  const taken = new Taken(({ cookie }) => (cookie === 0n ? 'end' : 'take'));
  taken.intake.push(
    Buffer.concat([encodeRequest({ command: 2, cookie: 0n, offset: 0, length: 0 }), Buffer.alloc(28)]),
  );
  expect(taken.requests).toEqual([]);
});
