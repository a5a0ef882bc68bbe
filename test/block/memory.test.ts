import { MemorySource } from '../../block/index.ts';
import { describeBlockSource } from './block-source-conformance.ts';

describeBlockSource('MemorySource', async (disk) => new MemorySource(disk));
