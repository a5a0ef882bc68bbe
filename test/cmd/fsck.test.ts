import { chmodSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { noise } from '../qcow2/qemu.ts';
import { Workplace } from './imgstore.ts';

/** Enough to be worth threads: 20 MiB. */
const BYTES = 320 * 65536;

async function storeOfOne(): Promise<Workplace> {
  const place = await Workplace.withStore();
  // One new object is enough for a pack.
  writeFileSync(place.path('.imgstore/config'), '[imgstore]\n\tunpackLimit = 1\n', { flag: 'a' });
  writeFileSync(place.path('web.raw'), noise(BYTES, 1));
  await place.ok('commit', 'web.raw');
  return place;
}

function damagePack(place: Workplace): string {
  const folder = place.path('.imgstore/objects/pack');
  const path = join(folder, readdirSync(folder).find((name) => name.endsWith('.pack'))!);
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  chmodSync(path, 0o644);
  writeFileSync(path, bytes);
  return path;
}

test('imgstore fsck says that nothing is damaged and exits with 0', async () => {
  const place = await storeOfOne();
  for (const option of [[], ['--full'], ['--quick']]) {
    const { status, stdout, stderr } = await place.run('fsck', ...option);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^clean: nothing is damaged: \d+ objects, 0 of them dangling, in .* s\n$/);
  }
});

test('imgstore fsck exits with 3 and says what to do when a cluster is damaged, and heals it from the image', async () => {
  const place = await storeOfOne();
  const path = damagePack(place);
  const found = await place.run('fsck');
  expect(found.status).toBe(3);
  const lines = found.stdout.trimEnd().split('\n');
  expect(lines).toHaveLength(3);
  expect(lines[0]).toBe(
    `damaged file: ${path}: its checksum does not fit its bytes: run imgstore fsck --repair`,
  );
  expect(lines[1]).toMatch(/^damaged blob: [0-9a-f]{12} in .*, part of web vda 64 KiB at \d+: run imgstore/);
  expect(lines[1]).toMatch(/run imgstore fsck --repair --from IMAGE with an image that has these bytes$/);
  expect(lines[2]).toMatch(/^damaged: 1 damaged object, 1 damaged file: \d+ objects/);

  const json = await place.run('fsck', '--json');
  expect(json.status).toBe(3);
  const report = JSON.parse(json.stdout);
  expect(Object.keys(report)).toEqual([
    'objects',
    'damaged',
    'missing',
    'dangling',
    'files',
    'refs',
    'notices',
    'omittedTouches',
    'clean',
    'seconds',
  ]);
  const [damaged] = report.damaged;
  expect(damaged).toMatchObject({ kind: 'blob', where: expect.stringContaining(path), lost: true });
  expect(damaged.touches).toEqual([
    {
      version: await version(place),
      name: 'web',
      disk: 'vda',
      path: 'disks/vda',
      ranges: [{ offset: expect.any(Number), length: 65536 }],
    },
  ]);

  const repaired = await place.run('fsck', '--repair', '--from', 'web.raw', '--json');
  expect(repaired.status).toBe(0);
  expect(JSON.parse(repaired.stdout)).toMatchObject({ clean: true, healed: 1, aside: expect.any(String) });
  expect((await place.run('fsck')).status).toBe(0);
  expect((await place.run('compare', 'web', 'web.raw')).status).toBe(0);
});

test('imgstore fsck --repair exits with 3 when something is left, and says where the damaged files are', async () => {
  const place = await storeOfOne();
  damagePack(place);
  const { status, stdout } = await place.run('fsck', '--repair');
  expect(status).toBe(3);
  expect(stdout).toMatch(/^repaired: .* objects are in a new pack$/m);
  expect(stdout).toMatch(/^damaged files, as they were, are in .*\.imgstore\/imgstore\/aside\//m);
  expect(stdout).toMatch(
    /^missing blob: [0-9a-f]{12}, needed by tree [0-9a-f]{12}, part of web vda 64 KiB at \d+: run/m,
  );
});

test.each([
  [['--quick', '--full'], '--full and --quick'],
  [['--quick', '--repair'], '--quick'],
  [['--from', 'web.raw'], '--repair'],
])('imgstore fsck %j exits with 2', async (args, part) => {
  const place = await Workplace.withStore();
  const { status, stderr } = await place.run('fsck', ...args);
  expect(status).toBe(2);
  expect(stderr).toContain(part);
});

test('imgstore fsck --repair fails, and leaves the store as it is, when the image is not there', async () => {
  const place = await storeOfOne();
  const path = damagePack(place);
  const before = readFileSync(path);
  const { status, stderr } = await place.run('fsck', '--repair', '--from', 'nowhere.raw');
  expect(status).toBe(1);
  expect(stderr).toContain('nowhere.raw');
  expect(readFileSync(path).equals(before)).toBe(true);
});

async function version(place: Workplace): Promise<string> {
  return JSON.parse((await place.run('log', '--json')).stdout)[0].commit;
}

test('imgstore fsck says how to bring a missing commit back, which no image has', async () => {
  const place = await storeOfOne();
  const next = place.git('commit-tree', '-m', 'next', '-p', 'web', 'web^{tree}');
  const last = place.git('commit-tree', '-m', 'last', '-p', next, 'web^{tree}');
  place.git('update-ref', 'refs/heads/last', last);
  const copy = place.path('copy.git');
  place.git('clone', '-q', '--bare', place.path('.imgstore'), copy);
  rmSync(place.path(`.imgstore/objects/${next.slice(0, 2)}/${next.slice(2)}`));
  const { status, stdout } = await place.run('fsck');
  expect(status).toBe(3);
  const [, advice] = /^missing commit: .*: bring it .* with git (.*) COPY$/m.exec(stdout) ?? [];
  place.git(...advice!.split(' '), '-q', copy, 'last');
  expect((await place.run('fsck')).status).toBe(0);
  place.fsck();
});
