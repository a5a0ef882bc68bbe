import { NbdSource } from '../../../nbd/index.ts';
import { describeBlockSource } from '../../block/block-source-conformance.ts';
import { fileOf, nbdkit, qemuNbd, type Served } from '../serve.ts';

const open = ({ socket }: Served) =>
  NbdSource.open({ address: { path: socket }, exportName: '' }, { label: 'nbd' });

describeBlockSource(
  'NbdSource (qemu-nbd)',
  async (disk) => open(await qemuNbd(await fileOf(disk), '-f', 'raw')),
  { unit: 512, runs: 60 },
);

describeBlockSource(
  'NbdSource (nbdkit, bytes)',
  async (disk) => open(await nbdkit('file', await fileOf(disk))),
  { runs: 60 },
);

describeBlockSource(
  'NbdSource (nbdkit, blocks of 4096 to 65536)',
  async (disk) =>
    open(
      await nbdkit(
        '--filter=blocksize-policy',
        'file',
        await fileOf(disk),
        'blocksize-minimum=4096',
        'blocksize-maximum=65536',
        'blocksize-error-policy=error',
      ),
    ),
  { unit: 4096, runs: 60 },
);

describeBlockSource(
  'NbdSource (nbdkit, simple replies)',
  async (disk) => open(await nbdkit('--no-sr', 'file', await fileOf(disk))),
  { runs: 60 },
);
