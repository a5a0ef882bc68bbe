import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { createOverlay, qemuImg, qemuIo } from '../qcow2/qemu.ts';
import { oneLine, Workplace } from './imgstore.ts';
import { ID, NUMBER } from './shapes.ts';

/** A store, and an image on a base with a snapshot. */
async function withImage(name = 'vm.qcow2'): Promise<Workplace> {
  const place = await Workplace.withStore();
  await qemuImg('create', '-q', '-f', 'qcow2', place.path('base.qcow2'), '16M');
  await qemuIo(place.path('base.qcow2'), 'write -P 1 0 1M');
  await addOverlay(place, name);
  return place;
}

async function addOverlay(place: Workplace, name: string): Promise<void> {
  const path = place.path(name);
  await createOverlay(path, place.path('base.qcow2'));
  await qemuIo(path, `write -P ${name.length} 1M 64k`);
  await qemuImg('snapshot', '-c', 'clean', path);
  await qemuIo(path, `write -P 77 ${name.length}M 64k`);
}

test('import prints a line for each version, and says what the image has', async () => {
  const place = await withImage();
  const { status, stdout, stderr } = await place.run('import', 'vm.qcow2');
  expect({ status, stderr }).toEqual({
    status: 0,
    stderr: 'vm.qcow2: its history is 2 layers and 1 internal snapshot\n',
  });
  expect(stdout).toMatch(
    /^\[vm [0-9a-f]{12}\] base\.qcow2: 1 new cluster, 1 MiB read\n\[vm [0-9a-f]{12}\] vm\.qcow2 as clean: 1 new cluster, 64 KiB read\n\[vm [0-9a-f]{12}\] vm\.qcow2: 1 new cluster, 64 KiB read\n$/,
  );
  expect(await place.ok('import', 'vm.qcow2', '-q')).toBe('');
  expect(place.git('rev-list', '--count', '--all')).toBe('3');
  place.fsck();
});

test('import --json tells of each version what it was made of and what it cost', async () => {
  const place = await withImage();
  const versions = await place.json(
    'import',
    '--chain',
    '--snapshots',
    'vm.qcow2',
    '-b',
    'web',
    '--tag-prefix',
    'web/',
  );
  const common = {
    commit: ID,
    branch: 'web',
    virtualSize: 16 * 2 ** 20,
    clusters: NUMBER,
    newClusters: 1,
    newObjects: NUMBER,
    storedBytes: NUMBER,
    unchanged: false,
  };
  const source = (file: string, snapshot: string | null) => ({
    file: place.path(file),
    snapshot,
    vmStateSize: 0,
  });
  expect(versions).toEqual([
    { ...common, tag: null, source: source('base.qcow2', null), readBytes: 2 ** 20 },
    { ...common, tag: 'web/clean', source: source('vm.qcow2', 'clean'), readBytes: 65536 },
    { ...common, tag: null, source: source('vm.qcow2', null), readBytes: 65536 },
  ]);
});

test('log --graph --all shows ten forks of one base when ten overlays were imported', async () => {
  const place = await withImage('vm0.qcow2');
  const names = Array.from({ length: 10 }, (_, i) => `vm${i}.qcow2`);
  for (const name of names.slice(1)) {
    await createOverlay(place.path(name), place.path('base.qcow2'));
    await qemuIo(place.path(name), `write -P 9${name.charAt(2)} 2M 64k`);
  }
  for (const name of names) await place.ok('import', '--chain', name);
  const commits = place.git('log', '--all', '--format=%s').split('\n');
  expect(commits.sort()).toEqual(['Import base.qcow2', ...names.map((name) => `Import ${name}`)]);
  const graph = await place.ok('log', '--graph', '--all', '--oneline');
  expect(graph.match(/^[|* ]*\* /gm)).toHaveLength(11);
  for (const name of names) expect(graph).toContain(`(${basename(name, '.qcow2')})`);
  place.fsck();
});

test.each<[string[], RegExp, number]>([
  [['import'], /image/, 2],
  [['import', 'vm.qcow2', '--format', 'vmdk'], /vmdk/, 2],
  [['import', 'none.qcow2'], /none\.qcow2/, 1],
  [['import', 'nbd://host/x'], /imgstore commit/, 2],
  [['import', '-q', 'vm.qcow2', '--tag-prefix', '..'], /cannot name a tag/, 1],
])('%j fails with one line', async (args, text, status) => {
  const place = await withImage();
  const outcome = await place.run(...args);
  expect(outcome.status).toBe(status);
  expect(oneLine(outcome)).toMatch(text);
});

test('import names the way out when a snapshot of another image has the tag', async () => {
  const place = await withImage();
  await addOverlay(place, 'second.qcow2');
  await place.ok('import', 'vm.qcow2');
  const before = place.git('for-each-ref');
  const outcome = await place.run('import', 'second.qcow2', '-q');
  expect(outcome.status).toBe(1);
  expect(oneLine(outcome)).toMatch(/tag 'clean' exists.*--tag-prefix/);
  expect(place.git('for-each-ref')).toBe(before);
  await place.ok('import', 'second.qcow2', '-q', '--tag-prefix', 'second/');
  expect(place.git('tag')).toBe('clean\nsecond/clean');
});
