import { InvalidArgumentError } from 'commander';
import { FOREIGN_FORMATS, type ImageFormat } from '../qcow2/index.ts';
import type { DiskFormat } from '../store/index.ts';

/** What people call VHD; qemu-img calls it `vpc`, after Virtual PC. */
const VHD = 'vhd';

/** Help for the `--format` of verbs that read disks. */
export const DISK_FORMAT_HELP = `qcow2, raw, luks, ${FOREIGN_FORMATS.join(', ').replace('vpc', VHD)}, instead of looking`;

/** The argument of `--format` where only qcow2 and raw disks are possible. */
export function formatArgument(text: string): ImageFormat {
  if (text === 'qcow2' || text === 'raw') return text;
  throw new InvalidArgumentError(`'${text}' is neither qcow2 nor raw`);
}

/** The argument of `--format` of verbs that read disks. */
export function diskFormatArgument(text: string): DiskFormat {
  const name = text === VHD ? 'vpc' : text;
  const format = FOREIGN_FORMATS.find((each) => each === name);
  if (format !== undefined) return format;
  if (text === 'qcow2' || text === 'raw' || text === 'luks') return text;
  throw new InvalidArgumentError(`'${text}' is no format that imgstore reads`);
}
