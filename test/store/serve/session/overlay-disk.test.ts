import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { NbdExport } from '../../../../nbd/index.ts';
import { diskOf, diskPlans, planned } from '../../disks.ts';
import { SMALL } from '../../new-store.ts';
import { sessionPlace } from './places.ts';

const DISK = diskOf([1, 2, 0, 0, 5, 6, 0, 8]);

async function bytesOf(disk: NbdExport): Promise<Buffer> {
  const bytes = Buffer.alloc(disk.size, 0xee);
  await disk.read(0, bytes);
  return bytes;
}

test('OverlayDisk reads what was written over the base, before and after a flush and when it is opened again', async () => {
  const place = await sessionPlace(DISK);
  const web = (await place.sessions.export('web'))!;
  const model = Buffer.from(DISK);
  expect((await bytesOf(web)).equals(model)).toBe(true);
  await web.write!(SMALL - 3, Buffer.alloc(10, 7));
  model.fill(7, SMALL - 3, SMALL + 7);
  expect((await bytesOf(web)).equals(model)).toBe(true);
  await web.flush!();
  await web.trim!(4 * SMALL, 2 * SMALL);
  model.fill(0, 4 * SMALL, 6 * SMALL);
  expect((await bytesOf(web)).equals(model)).toBe(true);
  await web.release();
  await place.sessions.close();
  expect((await place.asQemuSees()).equals(model)).toBe(true);
  const again = (await (await place.again()).export('web'))!;
  expect((await bytesOf(again)).equals(model)).toBe(true);
});

type Step = readonly [verb: 'write' | 'zero' | 'trim' | 'flush' | 'reopen', at: number, length: number];

test('OverlayDisk is as a plain disk for any calls of several connections', async () => {
  const step = fc.tuple(
    fc.constantFrom<Step[0]>('write', 'write', 'write', 'zero', 'trim', 'flush', 'reopen'),
    fc.nat(40 * 512),
    fc.integer({ min: 1, max: 5 * SMALL }),
  );
  await fc.assert(
    fc.asyncProperty(
      diskPlans(12, 512, 1000),
      fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { maxLength: 6 }),
      async (plan, rounds) => {
        const bytes = planned(plan);
        fc.pre(bytes.length > 0);
        const place = await sessionPlace(bytes);
        const model = Buffer.from(bytes);
        let { sessions } = place;
        let webs = [(await sessions.export('web'))!, (await sessions.export('web'))!];
        let seed = 0;
        for (const round of rounds) {
          // What overlaps may be done in any order: each range has one call of a round at most.
          const taken: [number, number][] = [];
          const calls: Promise<void>[] = [];
          for (const [verb, from, most] of round) {
            const at = from % bytes.length;
            const length = Math.min(most, bytes.length - at);
            const web = webs[seed % 2]!;
            if (verb === 'flush' || verb === 'reopen') calls.push(web.flush!());
            if (verb === 'flush' || verb === 'reopen') continue;
            if (taken.some(([start, end]) => at < end && start < at + length)) continue;
            taken.push([at, at + length]);
            seed++;
            model.fill(verb === 'write' ? (seed % 255) + 1 : 0, at, at + length);
            if (verb === 'write') calls.push(web.write!(at, Buffer.alloc(length, (seed % 255) + 1)));
            else if (verb === 'trim') calls.push(web.trim!(at, length));
            else calls.push(web.zero!(at, length, { mayPunch: true, fast: false }));
          }
          await Promise.all(calls);
          expect((await bytesOf(webs[1]!)).equals(model)).toBe(true);
          if (round.some(([verb]) => verb === 'reopen')) {
            for (const web of webs) await web.release();
            await sessions.close();
            expect((await place.asQemuSees()).equals(model)).toBe(true);
            sessions = await place.again();
            webs = [(await sessions.export('web'))!, (await sessions.export('web'))!];
          }
          const kinds = [];
          let at = 0;
          for await (const { offset, length, kind } of webs[0]!.extents(0, bytes.length)) {
            expect(offset).toBe(at);
            at += length;
            kinds.push(kind);
            if (kind !== 'data') expect(model.subarray(offset, at).every((byte) => byte === 0)).toBe(true);
          }
          expect(at).toBe(bytes.length);
        }
        for (const web of webs) await web.release();
        await sessions.close();
        expect((await place.asQemuSees()).equals(model)).toBe(true);
      },
    ),
    { numRuns: 10 },
  );
});
