import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import type { ObjectId } from '../../../objects/index.ts';
import { openDisk } from '../../../store/commit/open-disk.ts';
import { storeMoment } from '../../../store/live/running-commit.ts';
import { newStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';

const MIB = 2 ** 20;
const REQUEST = { ref: 'refs/heads/web', message: 'of one moment' };

/** Disks of which it is noted what they are let go with. */
class FakeMoment {
  readonly released: (ObjectId | undefined)[] = [];

  explain(error: unknown): unknown {
    return new ImgstoreError('QMP', `explained: ${(error as Error).message}`);
  }

  async release(commit: ObjectId | undefined): Promise<void> {
    this.released.push(commit);
  }
}

test('storeMoment stores what is held, and lets go of it with the version', async () => {
  const { store, file } = await newStore();
  const bytes = Buffer.alloc(MIB, 7);
  writeFileSync(file('web.raw'), bytes);
  writeFileSync(file('note'), 'attached');
  const disk = await openDisk(file('web.raw'), { format: 'raw' });
  const moment = new FakeMoment();
  const tips: (ObjectId | undefined)[] = [];
  const result = await storeMoment(
    store,
    REQUEST,
    {
      hold: async (tip) => {
        tips.push(tip);
        return moment;
      },
      open: async () => {
        const known = { held: undefined, basis: undefined, baseVersion: undefined, expectedBytes: MIB };
        return [{ name: 'vda', disk, known }];
      },
      attach: async () => [{ name: 'note', path: file('note') }],
    },
    {},
  );
  await disk.source.close();
  expect(tips).toEqual([undefined]);
  expect(moment.released).toEqual([result.commit]);
  expect(await store.refs.resolve(REQUEST.ref)).toBe(result.commit);
  expect((await readBack(store, 'web')).equals(bytes)).toBe(true);
});

test('storeMoment lets go of what is held, and says why, when it fails', async () => {
  const { store } = await newStore();
  const moment = new FakeMoment();
  const storing = storeMoment(
    store,
    REQUEST,
    {
      hold: async () => moment,
      open: () => Promise.reject(new Error('no disk')),
    },
    {},
  );
  await expect(storing).rejects.toMatchObject({ code: 'QMP', message: 'explained: no disk' });
  expect(moment.released).toEqual([undefined]);
  expect(await store.refs.resolve(REQUEST.ref)).toBeUndefined();
});
