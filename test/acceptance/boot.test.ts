import { statSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { basename } from 'node:path';
import { expect, test } from 'vitest';
import { Workplace } from '../cmd/imgstore.ts';
import { qemuCheck, qemuImg } from '../qcow2/qemu.ts';
import { fileDigest } from '../reliability/sample-history.ts';
import { boot, bootFiles, diskToStart } from './machine.ts';

test('a machine starts from a checked-out chain, goes on in its overlay, and is committed', {
  timeout: 0,
}, async (context) => {
  const disk = await diskToStart(context);
  const place = await Workplace.withStore();
  await qemuImg('convert', '-O', 'qcow2', disk, place.path('web.qcow2'));
  const [kernel] = await bootFiles(place, place.path('web.qcow2'));
  const digest = fileDigest(kernel.path);
  await place.ok('commit', 'web.qcow2');
  await place.ok('checkout', 'web', '-o', 'vm.qcow2', '--backing', 'web.qcow2', '--track');
  const first = `sha256sum ${kernel.inside}; echo first > /root/first; echo BOOTED-OK`;
  // The console shows the command line too.
  const said = await boot(place, place.path('vm.qcow2'), first);
  expect(said).toMatch(/^BOOTED-OK\r?$/m);
  expect(said, 'what the guest reads').toContain(digest);
  const { disks } = await place.json('commit', 'vm.qcow2', '-b', 'web');
  expect(disks[0].readBytes, 'of a tracked disk').toBeLessThan(statSync(disk).size / 4);
  expect(await place.ok('compare', 'web', 'vm.qcow2')).toBe('identical\n');
  await mkdir(place.path('out'));
  const top = await place.json('checkout', 'web', '-o', 'out/top.qcow2', '--backing', 'chain');
  expect(top.backing).toMatch(/^base-/);
  await rename(place.path('out'), place.path('moved'));
  const image = place.path('moved/top.qcow2');
  await qemuCheck(image);
  await qemuImg('compare', place.path('vm.qcow2'), image);
  const second = `cat /root/first; sha256sum ${kernel.inside}; echo second > /root/second; echo BOOTED-AGAIN`;
  const again = await boot(place, image, second);
  expect(again).toMatch(/^first\r?$[\s\S]*^BOOTED-AGAIN\r?$/m);
  expect(again, 'what the guest reads').toContain(digest);
  await qemuCheck(image);
  // Its base lost, the overlay is still what the machine wrote.
  await place.ok('commit', image, '-b', 'web');
  await rename(place.path('moved', basename(top.backing)), place.path('lost.qcow2'));
  expect(await place.ok('compare', 'web', image)).toBe('identical\n');
});
