import type { RawFile } from '../../block/index.ts';
import type { ForeignFormat } from '../../qcow2/index.ts';
import { unsupportedForeign } from './fault.ts';
import { checkParallels } from './formats/parallels.ts';
import { checkQed } from './formats/qed.ts';
import { checkVdi } from './formats/vdi.ts';
import { checkVhd } from './formats/vhd.ts';
import { checkVhdx } from './formats/vhdx.ts';
import { checkVmdk } from './formats/vmdk.ts';
import type { NamedFiles } from './named-files.ts';

type Check = (file: RawFile, path: string, named: NamedFiles) => Promise<void>;

const CHECKS: Readonly<Record<ForeignFormat, Check>> = {
  vmdk: checkVmdk,
  vdi: checkVdi,
  vpc: checkVhd,
  vhdx: checkVhdx,
  qed: checkQed,
  parallels: checkParallels,
};

/**
 * Looks into an image before QEMU does: opens the files that it names, and refuses what QEMU would read as something else than it
 * is, or by following names that nobody has checked.
 * @throws ImgstoreError `UNSUPPORTED`, `BAD_IMAGE`, `FORBIDDEN`, `NOT_FOUND`, `IO`
 */
export async function checkForeign(path: string, format: ForeignFormat, named: NamedFiles): Promise<void> {
  const file = await named.openTop(path);
  if (file.isDevice)
    throw unsupportedForeign(path, `is a block device: imgstore reads ${format} from files only`);
  await CHECKS[format](file, path, named);
}
