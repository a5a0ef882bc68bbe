import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ImgstoreError } from '../../errors/index.ts';
import { idFromBytes } from '../../objects/index.ts';
import { MemoryBytes } from '../../pack/bytes.ts';
import { encodeFanOut, FAN_OUT_BYTES, IdTable } from '../../pack/id-table.ts';
import { noise } from '../objects/noise.ts';

function tableOf(ids: readonly Buffer[]): IdTable {
  const inBucket = new Uint32Array(256);
  for (const id of ids) inBucket[id[0]!]!++;
  const bytes = Buffer.concat([encodeFanOut(inBucket), ...ids]);
  const damaged = (reason: string) => new ImgstoreError('DAMAGED', reason, {});
  return new IdTable(new MemoryBytes('table', bytes), { fanOutAt: 0, idsAt: FAN_OUT_BYTES, damaged });
}

/** Ids that begin with some bytes and are evenly spread behind them. */
function idsBehind(prefix: Uint8Array, count: number, seed: number): Buffer[] {
  const rest = noise(32 * count, seed);
  return Array.from({ length: count }, (_, i) => {
    const id = Buffer.from(rest.subarray(i * 32, i * 32 + 32));
    id.set(prefix);
    return id;
  });
}

test('IdTable.find finds what is there and nothing else, however the ids are spread', () => {
  const group = fc.tuple(fc.uint8Array({ maxLength: 9 }), fc.oneof(fc.nat(20), fc.nat(3000)), fc.nat(1000));
  fc.assert(
    fc.property(fc.array(group, { maxLength: 5 }), (groups) => {
      const all = groups.flatMap(([prefix, count, seed]) => idsBehind(prefix, count, seed));
      const ids = [...new Map(all.map((id) => [id.toString('hex'), id])).values()].sort((a, b) =>
        a.compare(b),
      );
      // Half of them are looked for in vain.
      const held = ids.filter((_, i) => i % 2 === 0);
      const table = tableOf(held);
      expect(table.count).toBe(held.length);
      for (const [i, id] of ids.entries())
        expect(table.find(idFromBytes(id))).toBe(i % 2 === 0 ? i / 2 : undefined);
      for (const edge of ['00', 'ff', '7f']) {
        const id = edge.repeat(32);
        const at = held.findIndex((each) => each.toString('hex') === id);
        expect(table.find(id)).toBe(at < 0 ? undefined : at);
      }
    }),
    { numRuns: 60 },
  );
});
