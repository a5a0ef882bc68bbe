import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { Workplace } from '../cmd/imgstore.ts';
import { qemuCheck, qemuImg, qemuIo } from '../qcow2/qemu.ts';
import { system } from './system.ts';

const MIB = 2 ** 20;

test.for(['1G', '100G', '1T'])(
  'commit of a tracked disk of %s reads what was written and less than 2 MB of tables',
  async (size, context) => {
    try {
      system('strace', '-V');
    } catch {
      return context.skip('strace is not here');
    }
    const place = await Workplace.withStore();
    const image = place.path('disk.qcow2');
    await qemuImg('create', '-q', '-f', 'qcow2', image, size);
    await qemuIo(image, 'write -P 5 0 40M');
    await place.ok('commit', 'disk.qcow2', '--track');
    await qemuIo(image, 'write -P 9 20M 8M', 'write -P 8 900M 8M');
    const calls = 'trace=read,pread64,readv,preadv,preadv2';
    const through = ['strace', '-f', '-qq', '-y', '-o', place.path('trace'), '-e', calls];
    const { status, stdout } = await place.start(['commit', 'disk.qcow2', '--json'], { through }).finished;
    if (status !== 0) return context.skip('strace may not trace here');
    expect(JSON.parse(stdout).disks[0].readBytes).toBeLessThanOrEqual(16 * MIB + 65536);
    // A call that another thread's stands in the middle of ends in a line of its own, without the name: all reads of that process by large pieces are of the image.
    const lines = (await readFile(place.path('trace'), 'utf8')).split('\n');
    const bytes = lines
      .filter((line) => line.includes('disk.qcow2>') || line.includes('pread64 resumed'))
      .reduce((sum, line) => sum + Number(/= (\d+)$/.exec(line)?.[1] ?? 0), 0);
    expect(bytes).toBeGreaterThanOrEqual(16 * MIB);
    expect(bytes).toBeLessThanOrEqual(18 * MIB);
    await qemuCheck(image);
    expect(await place.ok('compare', 'disk', 'disk.qcow2')).toContain('identical');
  },
);
