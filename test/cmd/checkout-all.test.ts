import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { qemuBytes, qemuCheck } from '../qcow2/qemu.ts';
import { oneLine, Workplace } from './imgstore.ts';
import { writeDisk } from './sample.ts';
import { NUMBER } from './shapes.ts';

/** A machine with two disks and its definition. */
async function machine(): Promise<Workplace> {
  const place = await Workplace.withStore();
  await writeDisk(place, 'a.raw', 1, 2);
  await writeDisk(place, 'b.raw', 3);
  writeFileSync(place.path('web.xml'), '<domain/>\n');
  await place.ok(
    'commit',
    '--disk',
    'vda=a.raw',
    '--disk',
    'vdb=b.raw',
    '--attach',
    'domain.xml=web.xml',
    '-b',
    'vm',
  );
  return place;
}

test('checkout --all writes all disks of a version and what is attached to it', async () => {
  const place = await machine();
  const result = await place.json('checkout', 'vm', '--all', '-o', 'back');
  expect(result).toEqual({
    folder: 'back',
    commit: place.git('rev-parse', 'vm').trim(),
    disks: ['vda', 'vdb'].map((disk) => ({
      disk,
      file: `back/${disk}.qcow2`,
      format: 'qcow2',
      virtualSize: NUMBER,
      writtenBytes: NUMBER,
      backing: null,
      seconds: NUMBER,
    })),
    attachments: [{ name: 'domain.xml', file: 'back/domain.xml' }],
    seconds: NUMBER,
  });
  for (const [disk, source] of [
    ['vda', 'a.raw'],
    ['vdb', 'b.raw'],
  ] as const) {
    await qemuCheck(place.path(`back/${disk}.qcow2`));
    expect((await qemuBytes(place.path(`back/${disk}.qcow2`))).equals(readFileSync(place.path(source)))).toBe(
      true,
    );
  }
  expect(readFileSync(place.path('back/domain.xml'), 'utf8')).toBe('<domain/>\n');
  const again = await place.json(
    'commit',
    '--disk',
    'vda=back/vda.qcow2',
    '--disk',
    'vdb=back/vdb.qcow2',
    '--attach',
    'domain.xml=back/domain.xml',
    '-b',
    'vm',
  );
  expect(again.unchanged).toBe(true);
});

test('checkout --all writes raw disks, chains and tracked disks', async () => {
  const place = await machine();
  expect(await place.ok('checkout', 'vm', '--all', '-o', 'raw', '--format', 'raw')).toContain(
    'raw/vdb.raw: raw, ',
  );
  expect(readFileSync(place.path('raw/vdb.raw')).equals(readFileSync(place.path('b.raw')))).toBe(true);
  await writeDisk(place, 'a.raw', 1, 4);
  await place.ok('commit', '--disk', 'vda=a.raw', '--disk', 'vdb=b.raw', '-b', 'vm');
  const { disks } = await place.json(
    'checkout',
    'vm',
    '--all',
    '-o',
    'chains',
    '--backing',
    'chain',
    '--track',
  );
  expect(disks.map(({ backing }: { backing: string }) => backing)).toEqual([
    expect.stringMatching(/^base-.*-vda\.qcow2$/),
    expect.stringMatching(/^base-.*-vdb\.qcow2$/),
  ]);
  await qemuCheck(place.path('chains/vda.qcow2'));
  expect((await qemuBytes(place.path('chains/vda.qcow2'))).equals(readFileSync(place.path('a.raw')))).toBe(
    true,
  );
});

test('checkout --all writes nothing when a file is in the way, and replaces it with --force', async () => {
  const place = await machine();
  mkdirSync(place.path('back'));
  writeFileSync(place.path('back/domain.xml'), 'mine');
  const outcome = await place.run('checkout', 'vm', '--all', '-o', 'back');
  expect(outcome.status).toBe(1);
  expect(oneLine(outcome)).toContain('back/domain.xml');
  expect(existsSync(place.path('back/vda.qcow2'))).toBe(false);
  await place.ok('checkout', 'vm', '--all', '-o', 'back', '--force');
  expect(readFileSync(place.path('back/domain.xml'), 'utf8')).toBe('<domain/>\n');
});

test.each([
  [['vm', '--all'], /--all: say with -o which folder to write into/],
  [['vm', '--all', '-o', 'a.raw'], /a\.raw: is in the way/],
  [['vm', '--all', '-o', 'x', '--disk', 'vda'], /cannot be used with/],
  [['vm', '--all', '-o', '.imgstore/x'], /is in the store's own folder/],
  [['vm', '--all', '-o', '.imgstore'], /is in the store's own folder/],
  [['vm', '--all', '-o', 'x', '--backing', './a.raw'], /--backing FILE is for one disk/],
] as const)('checkout %j is refused', async (args, reason) => {
  const place = await machine();
  const outcome = await place.run('checkout', ...args);
  expect([1, 2]).toContain(outcome.status);
  expect(oneLine(outcome)).toMatch(reason);
});
