import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { sharedWorkplace, Workplace } from './imgstore.ts';
import { disk, writeDisk } from './sample.ts';

const MIDX = '.imgstore/objects/pack/multi-pack-index';

/** Two images in two packs under one multi-pack-index. */
const template = sharedWorkplace(async (place) => {
  await place.ok('init');
  place.git('config', 'imgstore.unpackLimit', '1');
  for (const [image, seeds] of Object.entries({ a: [1, 2], b: [3, 4] })) {
    await writeDisk(place, `${image}.raw`, ...seeds);
    await place.ok('commit', `${image}.raw`);
  }
  place.git('multi-pack-index', 'write');
});

const chunk = (bytes: Buffer, name: string) => Number(bytes.readBigUInt64BE(bytes.indexOf(name) + 4));

/** Changes all rows of a chunk up to the next. */
function eachRow(
  from: string,
  to: string | undefined,
  rowBytes: number,
  change: (bytes: Buffer, at: number) => void,
) {
  return (bytes: Buffer) => {
    const end = to === undefined ? bytes.length - 32 : chunk(bytes, to);
    for (let at = chunk(bytes, from); at < end; at += rowBytes) change(bytes, at);
    return bytes;
  };
}

test.each<[string, RegExp, (bytes: Buffer) => Buffer]>([
  ['is empty', /cut short/, () => Buffer.alloc(0)],
  ['is cut short', /multi-pack-index/, (bytes) => bytes.subarray(0, 1500)],
  ['has another signature', /does not begin with MIDX/, (bytes) => bytes.fill('X', 0, 4)],
  ['is of another version', /version 9/, (bytes) => bytes.fill(9, 4, 5)],
  [
    'has a fan-out that falls',
    /fan-out falls/,
    (bytes) => bytes.fill(0xff, chunk(bytes, 'OIDF'), chunk(bytes, 'OIDF') + 4),
  ],
  [
    'has other ids',
    /is not in it/,
    eachRow('OIDL', 'OOFF', 32, (bytes, at) => bytes.fill(0x55, at + 1, at + 32)),
  ],
  [
    'has its ids out of order',
    /is not in it/,
    (bytes) => {
      const rows = bytes.subarray(chunk(bytes, 'OIDL'), chunk(bytes, 'OOFF'));
      const ids = Array.from({ length: rows.length / 32 }, (_, i) =>
        Buffer.from(rows.subarray(i * 32, i * 32 + 32)),
      );
      rows.set(Buffer.concat(ids.reverse()));
      return bytes;
    },
  ],
  [
    'says that objects are in no pack',
    /in pack 7 of 2/,
    eachRow('OOFF', undefined, 8, (bytes, at) => bytes.writeUInt32BE(7, at)),
  ],
  [
    'says that objects are in the other pack',
    /is not where it says/,
    eachRow('OOFF', undefined, 8, (bytes, at) => {
      bytes[at + 3]! ^= 1;
    }),
  ],
  [
    'has offsets beyond the packs',
    /is not where it says/,
    eachRow('OOFF', undefined, 8, (bytes, at) => bytes.writeUInt32BE(0x7fffffff, at + 4)),
  ],
  [
    'has offsets that are those of others',
    /is not where it says/,
    eachRow('OOFF', undefined, 8, (bytes, at) => bytes.writeUInt32BE(12, at + 4)),
  ],
  [
    'names a file above',
    /name 0 of its packs/,
    (bytes) => bytes.fill('../..', chunk(bytes, 'PNAM'), chunk(bytes, 'PNAM') + 5),
  ],
  ['has names without ends', /PNAM/, (bytes) => bytes.fill('x', chunk(bytes, 'PNAM'), chunk(bytes, 'OIDF'))],
])('images are read with one notice when the multi-pack-index %s', async (_, reason, damage) => {
  const place = await Workplace.create();
  await cp(template().folder, place.folder, { recursive: true });
  const bytes = damage(readFileSync(place.path(MIDX)));
  rmSync(place.path(MIDX));
  writeFileSync(place.path(MIDX), bytes);
  for (const [image, expected] of [
    ['a', disk(1, 2)],
    ['b', disk(3, 4)],
  ] as const) {
    const { status, bytes: read, stderr } = await place.run('cat', image);
    expect([status, read.equals(expected)]).toEqual([0, true]);
    expect(stderr).toMatch(
      /^the multi-pack-index is left out: [^\n]*multi-pack-index: [^\n]*imgstore pack[^\n]*\n$/,
    );
    expect(stderr).toMatch(reason);
  }
  // The advice of the notice.
  rmSync(place.path(MIDX));
  await place.ok('pack');
  expect((await place.run('cat', 'a')).stderr).toBe('');
  place.fsck();
});

test.each<[string, (place: Workplace) => void]>([
  [
    'has a wrong checksum',
    (place) => {
      const bytes = readFileSync(place.path(MIDX));
      bytes[bytes.length - 1]! ^= 1;
      rmSync(place.path(MIDX));
      writeFileSync(place.path(MIDX), bytes);
    },
  ],
  [
    'names packs that another program replaced',
    (place) => {
      renameSync(place.path(MIDX), place.path('kept'));
      place.git('repack', '-adq');
      expect(readdirSync(place.path('.imgstore/objects/pack'))).not.toContain('multi-pack-index');
      renameSync(place.path('kept'), place.path(MIDX));
    },
  ],
])('images are read without a word when the multi-pack-index %s', async (_, damage) => {
  const place = await Workplace.create();
  await cp(template().folder, place.folder, { recursive: true });
  damage(place);
  for (const [image, expected] of [
    ['a', disk(1, 2)],
    ['b', disk(3, 4)],
  ] as const) {
    const { status, bytes, stderr } = await place.run('cat', image);
    expect([status, bytes.equals(expected), stderr]).toEqual([0, true, '']);
  }
  await place.ok('pack');
  place.fsck();
});
