import { describe, expect, it } from 'vitest';
import { qemuBytes, qemuCheck, qemuIo } from '../qcow2/qemu.ts';
import { Workplace } from './imgstore.ts';
import { disk, writeDisk } from './sample.ts';

const KIB = 1024;

/** Every kind of file that a checkout writes. */
const KINDS: readonly (readonly [string, readonly string[]])[] = [
  ['a whole image', []],
  ['zlib streams', ['--compress', 'zlib']],
  ['zstd streams', ['--compress', 'zstd']],
  ['an overlay on a file', ['--backing', 'base.qcow2']],
  ['a chain', ['--backing', 'chain']],
];

describe.each(['4K', '64K', '2M'])('checkout of clusters of %s', (clusterSize) => {
  it('writes images that QEMU finds nothing wrong with and goes on writing to', async () => {
    const place = await Workplace.withStore('--cluster-size', clusterSize);
    await writeDisk(place, 'web.raw', 1, undefined, 2, 3);
    await place.ok('commit', 'web.raw');
    await place.ok('checkout', 'web', '-o', 'base.qcow2');
    await writeDisk(place, 'web.raw', 1, 4, undefined, 3);
    await place.ok('commit', 'web.raw');
    for (const [kind, options] of KINDS) {
      const image = place.path(`${KINDS.findIndex(([name]) => name === kind)}.qcow2`);
      await place.ok('checkout', 'web', '-o', image, ...options);
      await qemuCheck(image);
      const expected = disk(1, 4, undefined, 3);
      expect((await qemuBytes(image)).equals(expected), kind).toBe(true);
      // Within clusters, over their ends, and over all; zeros and holes too.
      await qemuIo(
        image,
        'write -P 9 1k 3k',
        'write -P 8 60k 100k',
        'write -z 130k 5k',
        'discard 192k 64k',
        'flush',
      );
      expected
        .fill(9, KIB, 4 * KIB)
        .fill(8, 60 * KIB, 160 * KIB)
        .fill(0, 130 * KIB, 135 * KIB);
      expect(
        (await qemuBytes(image)).subarray(0, 192 * KIB).equals(expected.subarray(0, 192 * KIB)),
        kind,
      ).toBe(true);
      await qemuCheck(image);
    }
  });
});
