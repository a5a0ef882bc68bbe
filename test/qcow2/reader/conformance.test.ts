import { type BlockSource, isZero, MemorySource } from '../../../block/index.ts';
import { Qcow2Image, Qcow2Writer } from '../../../qcow2/index.ts';
import { describeBlockSource } from '../../block/block-source-conformance.ts';
import { MemoryTarget } from '../model-image.ts';

/** An image that the writer made; every third zero cluster is a zero cluster, the others are unallocated. */
function written(clusterSize: number, backing: boolean) {
  return async (disk: Uint8Array): Promise<BlockSource> => {
    const target = new MemoryTarget();
    const writer = new Qcow2Writer(target, { virtualSize: disk.length, clusterSize });
    for (let cluster = 0; cluster * clusterSize < disk.length; cluster++) {
      const bytes = disk.subarray(cluster * clusterSize, (cluster + 1) * clusterSize);
      if (!isZero(bytes)) {
        // Over a backing file every other cluster stays there.
        if (!backing || cluster % 2 === 0) await target.write(await writer.allocate(cluster), bytes);
      } else if (cluster % 3 === 0) {
        await writer.zero(cluster, 1);
      }
    }
    await writer.finish();
    return Qcow2Image.open(new MemorySource(target.bytes), {
      name: 'written.qcow2',
      backing: backing ? new MemorySource(disk) : undefined,
    });
  };
}

describeBlockSource('Qcow2Image', written(512, false), { unit: 512, runs: 60 });
describeBlockSource('Qcow2Image over a backing file', written(4096, true), { unit: 512, runs: 60 });
