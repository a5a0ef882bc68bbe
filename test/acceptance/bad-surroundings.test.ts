import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, open, readdir, readFile, writeFile } from 'node:fs/promises';
import { expect, onTestFinished, type TestContext, test } from 'vitest';
import { type Running, Workplace } from '../cmd/imgstore.ts';
import { CLUSTER, disk, sampleStores, writeDisk } from '../cmd/sample.ts';
import { listStore } from '../cmd/store-files.ts';
import { FakeS3 } from '../remote/fake-s3.ts';
import { expectFailure, isRoot, system } from './system.ts';

const NOBODY = 65534;

const sample = sampleStores();

/** A way to run imgstore as somebody for whom permissions count, who owns the workplace; skips the test where there is none. */
async function asNobody(
  context: TestContext,
  place: Workplace,
  env: NodeJS.ProcessEnv = {},
): Promise<(...args: readonly string[]) => Running> {
  if (!isRoot) return (...args) => place.start(args, { env });
  system('chown', '-R', `${NOBODY}:${NOBODY}`, place.folder);
  const through = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--inh-caps=-all'];
  const probe = await place.start(['--version'], { through }).finished.catch(() => undefined);
  if (probe?.status !== 0) return context.skip('nobody cannot run imgstore here');
  return (...args) => place.start(args, { through, env });
}

test('an image without permission to read is refused', async (context) => {
  const place = await sample();
  await writeDisk(place, 'secret.raw', 9);
  const imgstore = await asNobody(context, place);
  await chmod(place.path('secret.raw'), 0);
  const before = await listStore(place.path('.imgstore'));
  expectFailure(await imgstore('commit', 'secret.raw').finished, 1, /^secret\.raw: permission denied$/);
  expect(await listStore(place.path('.imgstore'))).toEqual(before);
});

test('a store without permission to write is read and not written', async (context) => {
  const place = await sample();
  await writeDisk(place, 'new.raw', 9);
  const before = await listStore(place.path('.imgstore'));
  const imgstore = await asNobody(context, place);
  system('chmod', '-R', 'a-w', place.path('.imgstore'));
  onTestFinished(() => void system('chmod', '-R', 'u+w', place.path('.imgstore')));
  for (const args of [
    ['commit', 'new.raw'],
    ['tag', 'v9', 'web'],
    ['branch', '-d', 'web'],
    ['branch', '-m', 'web', 'x'],
  ])
    expectFailure(await imgstore(...args).finished, 1, /permission denied/);
  expect((await imgstore('log', 'web').finished).status).toBe(0);
  expect((await imgstore('cat', 'web').finished).bytes.equals(disk(1, 3, undefined))).toBe(true);
  expect((await imgstore('checkout', 'web').finished).status).toBe(0);
  expect(await listStore(place.path('.imgstore'))).toEqual(before);
});

test('the remote of a store without permission to write is verified, repaired and made smaller', async (context) => {
  const place = await sample();
  const fake = await FakeS3.start();
  onTestFinished(() => fake.close());
  const temporary = place.path('temporary');
  await mkdir(temporary);
  const env = {
    AWS_ACCESS_KEY_ID: fake.keys.accessKeyId,
    AWS_SECRET_ACCESS_KEY: fake.keys.secretAccessKey,
    AWS_ENDPOINT_URL_S3: fake.endpoint,
    TMPDIR: temporary,
  };
  const imgstore = await asNobody(context, place, env);
  const ok = async (...args: readonly string[]) => {
    const { status, stdout, stderr } = await imgstore(...args).finished;
    expect([status, stderr]).toEqual([0, '']);
    return stdout;
  };
  await ok('remote', 'add', 'origin', 's3://bucket/vms', '--no-probe');
  await ok('push');
  const before = await listStore(place.path('.imgstore'));
  system('chmod', '-R', 'a-w', place.path('.imgstore'));
  onTestFinished(() => void system('chmod', '-R', 'u+w', place.path('.imgstore')));
  expect(await ok('verify')).toMatch(/^clean: (\d+) of \1 objects in 2 packs were read\n$/);
  const [lost] = [...fake.objects.keys()].filter((name) => name.endsWith('.pack'));
  fake.objects.delete(lost!);
  expect((await imgstore('verify', '--sample', '50%').finished).status).toBe(3);
  expect(await ok('verify', '--repair')).toMatch(/^damaged [^\n]*\nmended: /);
  expect(await ok('gc', '--remote')).toMatch(/^2 -> 2 packs/);
  expect(await listStore(place.path('.imgstore'))).toEqual(before);
  expect(await readdir(temporary)).toEqual([]);
});

test('an output folder without permission to write is told', async (context) => {
  const place = await sample();
  await mkdir(place.path('closed'));
  const imgstore = await asNobody(context, place);
  await chmod(place.path('closed'), 0o555);
  expectFailure(
    await imgstore('checkout', 'web', '-o', 'closed/a.raw').finished,
    1,
    /closed.*: permission denied$/,
  );
  expectFailure(await imgstore('init', 'closed').finished, 1, /closed.*: permission denied$/);
  expect(await readdir(place.path('closed'))).toEqual([]);
});

/** A file system of 8 MiB; only root can make one. */
async function smallFileSystem(context: TestContext, place: Workplace): Promise<string> {
  if (!isRoot) return context.skip('only root can mount a small file system');
  const folder = place.path('small');
  await mkdir(folder);
  try {
    system('mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', folder);
  } catch (error) {
    return context.skip(`no file system can be mounted here: ${String(error)}`);
  }
  onTestFinished(() => void system('umount', folder));
  return folder;
}

test('a full disk below the store fails the commit and leaves the store as it was', async (context) => {
  const place = await Workplace.create();
  const small = await smallFileSystem(context, place);
  await place.ok('init', 'small');
  await writeDisk(place, 'fits.raw', 1);
  await place.ok('commit', 'fits.raw', '--store', small);
  await writeDisk(place, 'big.raw', ...Array.from({ length: 400 }, (_, i) => i));
  const before = await listStore(`${small}/.imgstore`);
  expectFailure(await place.run('commit', 'big.raw', '--store', small), 1, /no space left on the device/);
  expect(await listStore(`${small}/.imgstore`)).toEqual(before);
  expect((await place.run('cat', 'fits', '--store', small)).bytes.equals(disk(1))).toBe(true);
});

test.for(['raw', 'qcow2'])(
  'a full disk below the output fails the checkout as %s and leaves nothing',
  async (format, context) => {
    const place = await Workplace.withStore();
    await writeDisk(place, 'big.raw', ...Array.from({ length: 400 }, (_, i) => i));
    await place.ok('commit', 'big.raw');
    const small = await smallFileSystem(context, place);
    expectFailure(
      await place.run('checkout', 'big', '-o', `small/back.${format}`),
      1,
      /no space left on the device/,
    );
    expect(await readdir(small)).toEqual([]);
  },
);

test('a revision that is unknown, ambiguous or malformed is refused', async () => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'big.raw', ...Array.from({ length: 700 }, (_, i) => i));
  await place.ok('commit', 'big.raw');
  const ids = place.git('cat-file', '--batch-all-objects', '--batch-check=%(objectname)').split('\n');
  const prefixes = ids.map((id) => id.slice(0, 4));
  // Of 700 ids some share four digits; the clusters are the same each time.
  const shared = prefixes.find((prefix, i) => prefixes.indexOf(prefix) !== i)!;
  for (const verb of ['show', 'checkout']) {
    expectFailure(await place.run(verb, 'nothing'), 1, "unknown revision 'nothing'");
    expectFailure(await place.run(verb, 'big~7'), 1, "'big~7' goes back too far");
    expectFailure(await place.run(verb, shared), 1, `'${shared}' `);
    expectFailure(await place.run(verb, 'big^{blob}'), 2, "'big^{blob}' is not a revision");
    expectFailure(await place.run(verb, ''), 2, 'is not a revision');
  }
  expect(await readdir(place.folder)).toEqual(['.imgstore', 'big.raw']);
});

test.each([
  ['existing.raw', 'existing.raw: exists already'],
  ['folder', 'folder: is a folder'],
  ['no/such/a.raw', /no\/such: no such file or folder/],
  ['file/a.raw', 'file/a.raw: a part of the path is not a folder'],
  ['pipe.raw', 'pipe.raw: is not a regular file'],
  [`${'x'.repeat(300)}.raw`, 'name too long'],
])('checkout -o %s is refused', async (output, part) => {
  const place = await sample();
  await writeFile(place.path('existing.raw'), 'mine');
  await writeFile(place.path('file'), '');
  await mkdir(place.path('folder'));
  system('mkfifo', place.path('pipe.raw'));
  const before = await readdir(place.folder);
  expectFailure(await place.run('checkout', 'web', '-o', output), 1, part);
  if (output !== 'existing.raw')
    expectFailure(await place.run('checkout', 'web', '-o', output, '--force'), 1, part);
  expect(await readdir(place.folder)).toEqual(before);
  expect(await readdir(place.path('folder'))).toEqual([]);
  expect(await readFile(place.path('existing.raw'), 'utf8')).toBe('mine');
});

/** Changes one byte of a file, which git makes read-only. */
async function flipByte(path: string, at: number): Promise<void> {
  await chmod(path, 0o644);
  const file = await open(path, 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, at);
  byte[0]! ^= 0x55;
  await file.write(byte, 0, 1, at);
  await file.close();
}

function loosePath(place: Workplace, revision: string): string {
  const id = place.git('rev-parse', revision);
  return place.path('.imgstore/objects', id.slice(0, 2), id.slice(2));
}

test('a damaged loose cluster fails cat and checkout, which leaves no file', async () => {
  const place = await sample();
  await flipByte(loosePath(place, 'web:disks/vda/01'), 30_000);
  const before = await readdir(place.folder);
  for (const args of [
    ['checkout', 'web', '-o', 'a.raw'],
    ['checkout', 'web', '-o', 'a.qcow2'],
  ])
    expectFailure(await place.run(...args), 1, place.git('rev-parse', 'web:disks/vda/01').slice(2));
  const cat = await place.run('cat', 'web', '--offset', '64K');
  expectFailure(cat, 1, place.git('rev-parse', 'web:disks/vda/01').slice(2));
  expect(await readdir(place.folder)).toEqual(before);
  // What does not need it is still there.
  expect((await place.run('cat', 'web', '--length', '64K')).bytes.equals(disk(1))).toBe(true);
  expect((await place.run('cat', 'web-test')).bytes.equals(disk(4, undefined, 2))).toBe(true);
});

test.each(['web:disks/vda', 'web^{tree}', 'web:image.json', 'web^{commit}'])(
  'a damaged %s fails every verb that needs it',
  async (revision) => {
    const place = await sample();
    const path = loosePath(place, revision);
    await flipByte(path, 25);
    const before = await readdir(place.folder);
    for (const args of [
      ['cat', 'web'],
      ['checkout', 'web', '-o', 'a.qcow2'],
      ['show', 'web'],
      ['map', 'web'],
      ['diff', 'web', 'web-test'],
    ])
      expectFailure(await place.run(...args), 1, /./);
    expectFailure(await place.run('compare', 'web', 'web.raw'), 2, /./);
    expect(await readdir(place.folder)).toEqual(before);
  },
);

test('an object that is gone fails every verb that needs it', async () => {
  const place = await sample();
  const id = place.git('rev-parse', 'web:disks/vda/01');
  system('rm', '-f', loosePath(place, 'web:disks/vda/01'));
  expectFailure(await place.run('cat', 'web'), 1, id);
  expectFailure(await place.run('checkout', 'web', '-o', 'a.raw'), 1, id);
});

test('a damaged pack fails cat and checkout', async () => {
  const place = await Workplace.withStore();
  const seeds = Array.from({ length: 600 }, (_, i) => i);
  await writeDisk(place, 'big.raw', ...seeds);
  await place.ok('commit', 'big.raw');
  const packs = place.path('.imgstore/objects/pack');
  const pack = (await readdir(packs)).find((name) => name.endsWith('.pack'))!;
  await flipByte(`${packs}/${pack}`, 300 * CLUSTER);
  expectFailure(await place.run('checkout', 'big', '-o', 'a.raw'), 1, pack);
  const cat = await place.run('cat', 'big', '--offset', `${290 * CLUSTER}`, '--length', `${20 * CLUSTER}`);
  expectFailure(cat, 1, pack);
  expect(await readdir(place.folder)).toEqual(['.imgstore', 'big.raw']);
});

test.each(['.idx', '.pack'])('a %s that is cut off is told by its name', async (ending) => {
  const place = await Workplace.withStore();
  await writeDisk(place, 'big.raw', ...Array.from({ length: 600 }, (_, i) => i));
  await place.ok('commit', 'big.raw');
  const packs = place.path('.imgstore/objects/pack');
  const name = (await readdir(packs)).find((each) => each.endsWith(ending))!;
  await chmod(`${packs}/${name}`, 0o644);
  await writeFile(`${packs}/${name}`, (await readFile(`${packs}/${name}`)).subarray(0, 1000));
  expectFailure(await place.run('checkout', 'big', '-o', 'a.raw', '-q'), 1, `${packs}/${name}: `);
});

test.each([
  ['config', '[core\n', /config:1/],
  ['config', '[core]\n\trepositoryformatversion = 1\n', /extensions\.objectformat is sha1/],
  [
    'config',
    '[core]\n\trepositoryformatversion = 1\n[extensions]\n\tobjectformat = sha256\n',
    /has no imgstore\.version/,
  ],
  ['refs/heads/web', 'nonsense\n', /refs\/heads\/web/],
  ['packed-refs', 'nonsense\n', /packed-refs:1/],
])('a damaged %s is told by its name', async (file, content, part) => {
  const place = await sample();
  await writeFile(place.path('.imgstore', file), content);
  expectFailure(await place.run('show', 'web'), 1, part);
});

test('a store of a newer imgstore is refused', async () => {
  const place = await sample();
  system('git', '-C', place.path('.imgstore'), 'config', 'imgstore.version', '2');
  expectFailure(await place.run('images'), 1, 'imgstore.version is 2');
});

test('a ref that is locked is waited for and then told', async () => {
  const place = await sample();
  await writeDisk(place, 'web.raw', 8);
  await writeFile(place.path('.imgstore/refs/heads/web.lock'), '');
  const before = place.git('rev-parse', 'web');
  const outcome = await place.run('commit', 'web.raw');
  expectFailure(outcome, 4, /refs\/heads\/web: locked .* by another process/);
  expect(place.git('rev-parse', 'web')).toBe(before);
});

test('a store that is copied while nobody writes is the same store', async () => {
  const place = await sample();
  await cp(place.path('.imgstore'), place.path('elsewhere/.imgstore'), { recursive: true });
  expect(await place.json('log', '-C', 'elsewhere')).toEqual(await place.json('log'));
});

test.skipIf(!existsSync('/proc/self'))('a place where no folder can be made is refused', async () => {
  const place = await sample();
  for (const args of [
    ['serve', '--writable', '--socket', 'x.sock', '--overlays', '/proc/x'],
    ['init', '/proc/x'],
    ['clone', '.', '/proc/x'],
    ['checkout', 'web', '--all', '-o', '/proc/x'],
  ])
    expectFailure(await place.run(...args), 1, /^\/proc\/x.*: no such file or folder$/);
});
