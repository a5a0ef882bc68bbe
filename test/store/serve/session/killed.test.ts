import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { diskOf } from '../../disks.ts';
import { killedAt } from '../../killed-update.ts';
import { SMALL } from '../../new-store.ts';
import { readBack } from '../../read-back.ts';
import { type SessionPlace, sessionPlace } from './places.ts';

const DISK = diskOf([1, 2, 0, 0, 5, 6, 0, 8]);

/** Writes, zeros, trims, flushes and commits; `flushed` gets the bytes that must be there, cluster by cluster. */
async function work(
  place: SessionPlace,
  onFlushed: (model: Buffer) => void,
  onWritten: (model: Buffer) => void,
) {
  const sessions = await place.again();
  try {
    const web = (await sessions.export('web'))!;
    const model = Buffer.alloc(DISK.length);
    await web.read(0, model);
    const write = async (at: number, length: number, byte: number) => {
      onWritten(model.fill(byte, at, at + length));
      await (byte === 0 ? web.trim!(at, length) : web.write!(at, Buffer.alloc(length, byte)));
    };
    const flush = async () => {
      await web.flush!();
      onFlushed(model);
    };
    await write(10, 20, 9);
    await write(2 * SMALL - 5, 10, 3);
    await flush();
    await write(0, SMALL, 0);
    await write(5 * SMALL, SMALL + 100, 0);
    await flush();
    await write(0, 2 * SMALL, 7);
    await write(3 * SMALL, SMALL, 8);
    await sessions.commit('web');
    onFlushed(model);
    await write(2 * SMALL, 4 * SMALL, 0);
    await flush();
    await write(2 * SMALL + 1, 3 * SMALL, 5);
    await web.release();
    onFlushed(model);
  } finally {
    // What a dead process has open is closed; nothing is written any more.
    await sessions.close().catch(() => {});
  }
}

test('OverlayDisk leaves a whole image with all that was flushed wherever it is killed, and is gone on with', async () => {
  const place = await sessionPlace(DISK);
  const first = (await place.sessions.export('web'))!;
  // As it was, but in the overlay.
  await first.write!(0, DISK.subarray(0, 1));
  await first.release();
  await place.sessions.close();
  copyFileSync(place.overlay, place.file('kept.qcow2'));
  const base = await readBack(place.store, 'web');
  writeFileSync(place.file('web.raw'), base);
  let kills = 0;
  for (let step = 1, isFinished = false; !isFinished; step++) {
    copyFileSync(place.file('kept.qcow2'), place.overlay);
    let flushed = Buffer.from(DISK);
    // What each byte was since: any of it may be there.
    let since: Buffer[] = [];
    isFinished = await killedAt(step, () =>
      work(
        place,
        (model) => {
          flushed = Buffer.from(model);
          since = [];
        },
        (model) => {
          since.push(Buffer.from(model));
        },
      ),
    );
    kills += isFinished ? 0 : 1;
    const seen = await place.asQemuSees({ mayLeak: true });
    const bad = seen.findIndex((byte, i) => byte !== flushed[i] && since.every((model) => model[i] !== byte));
    expect(bad, `killed at ${step}`).toBe(-1);
    const again = await place.again();
    const web = (await again.export('web'))!;
    const bytes = Buffer.alloc(DISK.length);
    await web.read(0, bytes);
    expect(bytes.equals(seen), `opened after ${step}`).toBe(true);
    await web.write!(SMALL, Buffer.alloc(4 * SMALL, 11));
    bytes.fill(11, SMALL, 5 * SMALL);
    await web.release();
    await again.close();
    expect((await place.asQemuSees({ mayLeak: true })).equals(bytes), `written after ${step}`).toBe(true);
  }
  expect(kills).toBeGreaterThan(30);
  expect(readFileSync(place.file('web.raw')).equals(base)).toBe(true);
});
