import { expect, test, vi } from 'vitest';
import { InPlaceFile } from '../../../../block/index.ts';
import { ImgstoreError } from '../../../../errors/index.ts';
import { diskOf } from '../../disks.ts';
import { SMALL } from '../../new-store.ts';
import { sessionPlace } from './places.ts';

const DISK = diskOf([1, 2, 0, 0, 5, 6, 0, 8]);

/** Makes one change of a file fail as the system does: the step-th from 1 on. Returns how many there were, and undoes that. */
function failAt(step: number, system: string): () => number {
  let calls = 0;
  const spies = (['write', 'zero', 'resize', 'sync'] as const).map((name) => {
    const original = InPlaceFile.prototype[name] as (this: InPlaceFile, ...args: never[]) => never;
    return vi.spyOn(InPlaceFile.prototype, name).mockImplementation(function (
      this: InPlaceFile,
      ...args: unknown[]
    ) {
      if (++calls === step) throw new ImgstoreError('IO', `${this.path}: ${system}`, { system });
      return original.apply(this, args as never[]);
    });
  });
  return () => {
    for (const spy of spies) spy.mockRestore();
    return calls;
  };
}

test('OverlayDisk loses nothing and leaves no corruption when the file system is full for a moment, and the guest writes again', async () => {
  let failures = 0;
  for (let step = 1, isOver = false; !isOver; step++) {
    const place = await sessionPlace(DISK);
    const model = Buffer.from(DISK);
    const web = (await place.sessions.export('web'))!;
    const undo = failAt(step, 'ENOSPC');
    const tried = async (call: () => Promise<void>) => {
      try {
        await call();
      } catch (error) {
        expect(error).toMatchObject({ code: 'IO', data: { system: 'ENOSPC' } });
        failures++;
        // What was not written reads as it did, or as it will.
        await call();
      }
    };
    const write = async (at: number, length: number, byte: number) => {
      const before = Buffer.from(model);
      model.fill(byte, at, at + length);
      await tried(async () => {
        await (byte === 0 ? web.trim!(at, length) : web.write!(at, Buffer.alloc(length, byte))).catch(
          async (error: unknown) => {
            const bytes = Buffer.alloc(DISK.length);
            await web.read(0, bytes);
            const bad = bytes.findIndex((found, i) => found !== before[i] && found !== model[i]);
            expect(bad, `after a failure at ${step}`).toBe(-1);
            throw error;
          },
        );
      });
    };
    const flush = () => tried(() => web.flush!());
    await write(10, 20, 9);
    await write(2 * SMALL - 5, 10, 3);
    await flush();
    await write(0, 2 * SMALL, 0);
    await write(5 * SMALL, SMALL, 0);
    await flush();
    await write(0, 3 * SMALL, 7);
    await flush();
    isOver = undo() < step;
    const bytes = Buffer.alloc(DISK.length);
    await web.read(0, bytes);
    expect(bytes.equals(model), `failed at ${step}`).toBe(true);
    await web.release();
    await place.sessions.close();
    expect((await place.asQemuSees({ mayLeak: true })).equals(model), `failed at ${step}`).toBe(true);
  }
  expect(failures).toBeGreaterThan(15);
});

test('OverlayDisk writes nothing any more after a failure of the device, and the image is as it was flushed', async () => {
  const place = await sessionPlace(DISK);
  const web = (await place.sessions.export('web'))!;
  const flushed = Buffer.from(DISK).fill(9, 0, SMALL);
  await web.write!(0, Buffer.alloc(SMALL, 9));
  await web.flush!();
  await web.write!(SMALL, Buffer.alloc(SMALL, 8));
  const spy = vi
    .spyOn(InPlaceFile.prototype, 'sync')
    .mockRejectedValueOnce(new ImgstoreError('IO', 'web.qcow2: input/output error', { system: 'EIO' }));
  await expect(web.flush!()).rejects.toMatchObject({ code: 'IO' });
  spy.mockRestore();
  for (const call of [() => web.flush!(), () => web.write!(0, Buffer.alloc(1)), () => web.trim!(0, SMALL)])
    await expect(call()).rejects.toMatchObject({
      code: 'IO',
      message: expect.stringContaining('start the server again'),
    });
  const bytes = Buffer.alloc(SMALL);
  await web.read(0, bytes);
  expect(bytes.every((byte) => byte === 9)).toBe(true);
  await web.release();
  await place.sessions.close();
  expect((await place.asQemuSees({ mayLeak: true })).equals(flushed)).toBe(true);
});
