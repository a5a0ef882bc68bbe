import { execFile } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { Workplace } from '../cmd/imgstore.ts';
import { disk, writeDisk } from '../cmd/sample.ts';
import { qemuBytes } from '../qcow2/qemu.ts';

const run = promisify(execFile);
const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const ENTRIES = ['block', 'nbd', 'objects', 'pack', 'qcow2', 'store'];

test('the package installs globally and works, without scripts of its own or of others', {
  timeout: 300_000,
}, async () => {
  const place = await Workplace.create();
  // Built already; building again would pull the program from under other tests.
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', place.folder], { cwd: PROJECT });
  const tarball = (await readdir(place.folder)).find((name) => /^imgstore-.*\.tgz$/.test(name))!;
  const prefix = place.path('prefix');
  const options = ['--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund'];
  await run('npm', ['install', '--global', '--prefix', prefix, ...options, `./${tarball}`], {
    cwd: place.folder,
  });

  const imgstore = async (...args: readonly string[]) =>
    (await run(`${prefix}/bin/imgstore`, args, { cwd: place.folder, env: place.environment })).stdout;
  const { version } = JSON.parse((await run('cat', ['package.json'], { cwd: PROJECT })).stdout);
  expect(await imgstore('--version')).toBe(`${version}\n`);
  await imgstore('init');
  const seeds = Array.from({ length: 600 }, (_, i) => i);
  await writeDisk(place, 'web.raw', ...seeds);
  expect(JSON.parse(await imgstore('commit', 'web.raw', '--json'))).toMatchObject({
    disks: [{ newClusters: 600 }],
  });
  await imgstore('checkout', 'web');
  expect((await qemuBytes(place.path('web.qcow2'))).equals(disk(...seeds))).toBe(true);
  place.fsck();

  const script = `${prefix}/lib/entries.mjs`;
  const imports = ENTRIES.map((name) => `Object.keys(await import('imgstore/${name}')).length > 0`);
  await writeFile(script, `console.log(JSON.stringify([${imports.join(', ')}]));\n`);
  expect(JSON.parse((await run(process.execPath, [script])).stdout)).toEqual(ENTRIES.map(() => true));
});
