import { copyFileSync, truncateSync, writeFileSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, onTestFinished, test, vi } from 'vitest';
import { InPlaceFile } from '../../../../block/index.ts';
import { commitVersion } from '../../../../store/index.ts';
import { Sessions } from '../../../../store/serve/session/sessions.ts';
import { diskOf, diskPlans, planned } from '../../disks.ts';
import { newStore, SMALL } from '../../new-store.ts';
import { bytesOf, sessionPlace } from './places.ts';

const DISK = diskOf([1, 2, 0, 0, 5, 6, 0, 8]);

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
        // As it was, but in the overlay.
        await webs[0]!.write!(0, bytes.subarray(0, 1));
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

test('OverlayDisk tells whoever is at work that it was closed, and closes once', async () => {
  const place = await sessionPlace(DISK);
  const web = (await place.sessions.export('web'))!;
  await web.write!(0, Buffer.alloc(SMALL, 1));
  await place.sessions.discard('web', { force: true });
  const closed = { code: 'IN_USE', message: expect.stringContaining('connect again') };
  const zeros = { mayPunch: true, fast: false };
  for (const call of [
    () => web.read(0, Buffer.alloc(1)),
    () => web.write!(0, Buffer.alloc(1)),
    () => web.zero!(0, 3 * SMALL, zeros),
    () => web.zero!(1, 2, zeros),
    () => web.flush!(),
  ])
    await expect(call()).rejects.toMatchObject(closed);
  await web.release();
  // Who connects next begins anew.
  const next = (await place.sessions.export('web'))!;
  expect((await bytesOf(next)).equals(DISK)).toBe(true);
});

test('OverlayDisk makes no tables for a trim of what is empty in the base, on a disk of a terabyte', async () => {
  const place = await sessionPlace(DISK);
  const path = place.file('large.raw');
  writeFileSync(path, 'x');
  truncateSync(path, 2 ** 40);
  const disks = [{ name: 'vda', path }];
  const made = await newStore(65536);
  await commitVersion(made.store, { disks, branch: 'large' });
  const sessions = await Sessions.open(made.store, { address: { path: '/run/nbd.sock' } });
  const large = (await sessions.export('large'))!;
  for (let at = 0; at < 2 ** 40; at += 2 ** 36) await large.trim!(at, 2 ** 36);
  await large.write!(2 ** 39, Buffer.alloc(65536, 1));
  const kinds = [];
  for await (const extent of large.extents(0, 2 ** 40)) kinds.push(extent);
  expect(kinds.filter(({ kind }) => kind === 'data')).toEqual([
    { offset: 2 ** 39, length: 65536, kind: 'data' },
  ]);
  expect(await sessions.commit('large')).toMatchObject({ readBytes: 65536, newClusters: 1 });
  expect((await sessions.list())[0]!.overlayBytes).toBeLessThan(2 ** 20);
  await large.release();
  await sessions.close();
});

test('OverlayDisk leaves a whole image at every fsync, also when trims and writes come while tables are being written', async () => {
  const place = await sessionPlace(diskOf(Array<number>(32).fill(3)));
  const web = (await place.sessions.export('web'))!;
  const model = Buffer.alloc(32 * SMALL);
  await web.read(0, model);
  const base = Buffer.from(model);
  const fill = async (cluster: number, byte: number) => {
    model.fill(byte, cluster * SMALL, (cluster + 1) * SMALL);
    if (byte === 0) await web.trim!(cluster * SMALL, SMALL);
    else await web.write!(cluster * SMALL, Buffer.alloc(SMALL, byte));
  };
  // Even clusters have their place already.
  for (let cluster = 0; cluster < 32; cluster += 2) await fill(cluster, 1);
  await web.flush!();
  let next = 0;
  let syncs = 0;
  const calls: Promise<void>[] = [];
  const name = 'sync' as const;
  const sync = InPlaceFile.prototype[name] as (this: InPlaceFile) => Promise<void>;
  const spy = vi.spyOn(InPlaceFile.prototype, 'sync').mockImplementation(async function (this: InPlaceFile) {
    copyFileSync(place.overlay, place.file(`${syncs++}.qcow2`));
    if (next < 32) calls.push(fill(next, next % 3 === 0 ? 0 : 7), fill(next + 1, 8));
    next += 2;
    for (let i = 0; i < 5; i++) await setImmediate();
    await sync.call(this);
  });
  onTestFinished(() => spy.mockRestore());
  while (next < 32) {
    await fill(next + 1, 5);
    await web.flush!();
  }
  await Promise.all(calls);
  expect((await bytesOf(web)).equals(model)).toBe(true);
  await web.release();
  await place.sessions.close();
  expect((await place.asQemuSees()).equals(model)).toBe(true);
  for (let i = 0; i < syncs; i++) {
    const seen = await place.asQemuSees({ overlay: place.file(`${i}.qcow2`), mayLeak: true });
    // A cluster never shows what was written to another one.
    for (let cluster = 0; cluster < 32; cluster++) {
      const mayBe = cluster % 2 === 0 ? [0, 1, 7] : [base[cluster * SMALL], 5, 8];
      expect(mayBe, `cluster ${cluster} at ${i}`).toContain(seen[cluster * SMALL]);
    }
  }
});
