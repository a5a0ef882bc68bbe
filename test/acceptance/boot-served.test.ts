import { expect, test } from 'vitest';
import { Workplace } from '../cmd/imgstore.ts';
import { qemuCheck, qemuImg } from '../qcow2/qemu.ts';
import { boot, diskToStart } from './machine.ts';

test('a machine starts from a lazy checkout and from a writable export, and what it writes is committed', {
  timeout: 0,
}, async (context) => {
  const disk = await diskToStart(context);
  const place = await Workplace.withStore();
  await qemuImg('convert', '-O', 'qcow2', disk, place.path('web.qcow2'));
  await place.ok('commit', 'web.qcow2');
  await place.ok('pack');
  await place.serve('--writable');

  await place.ok('checkout', 'web', '-o', 'lazy.qcow2', '--backing', 'nbd');
  const image = place.path('lazy.qcow2');
  const said = await boot(place, image, 'echo lazy > /root/first; echo BOOTED-OK');
  expect(said).toMatch(/^BOOTED-OK\r?$/m);
  await qemuCheck(image);
  const committed = await place.json('commit', 'lazy.qcow2', '-b', 'web');
  expect(committed.parents).toEqual([place.git('rev-parse', 'web~1')]);
  expect(await place.ok('compare', 'web', 'lazy.qcow2')).toBe('identical\n');

  const uri = `nbd+unix:///web?socket=${place.path('.imgstore/imgstore/nbd.sock')}`;
  const again = await boot(
    place,
    uri,
    'cat /root/first; echo served > /root/second; echo BOOTED-AGAIN',
    'raw',
  );
  expect(again).toMatch(/^lazy\r?$[\s\S]*^BOOTED-AGAIN\r?$/m);
  await place.ok('session', 'commit', 'web');
  expect(await place.ok('compare', 'web', uri)).toBe('identical\n');
  await place.ok('checkout', 'web', '-o', 'last.qcow2');
  const last = await boot(place, place.path('last.qcow2'), 'cat /root/first /root/second; echo BOOTED-LAST');
  expect(last).toMatch(/^lazy\r?$[\s\S]*^served\r?$[\s\S]*^BOOTED-LAST\r?$/m);
});
