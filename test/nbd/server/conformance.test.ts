import { NbdSource } from '../../../nbd/index.ts';
import { describeBlockSource } from '../../block/block-source-conformance.ts';
import { MemoryDisk, serve } from './memory-disk.ts';

const open = async (disk: MemoryDisk) =>
  NbdSource.open({ address: { path: (await serve(disk)).socket }, exportName: '' }, { label: 'nbd' });

describeBlockSource('NbdSource (NbdServer, bytes)', (bytes) => open(new MemoryDisk(bytes)), { runs: 60 });

const blockSize = { minimum: 4096, preferred: 4096, maximum: 65536 };
describeBlockSource(
  'NbdSource (NbdServer, blocks of 4096 to 65536)',
  (bytes) => open(new MemoryDisk(bytes, { readOnly: true, blockSize })),
  { unit: 4096, runs: 60 },
);
