import { type CommitResult, DiskSource, type Store } from '../../../store/index.ts';
import { readVersion } from '../../../store/version/version.ts';
import { readAll } from '../../qcow2/qemu.ts';

/** What a commit of a machine that runs came to. */
export interface RunningOutcome {
  readonly commit: string;
  readonly unchanged: boolean;
  /** Of each disk. */
  readonly readBytes: readonly number[];
  readonly notices: readonly string[];
}

export function outcomeOf(
  { commit, unchanged, disks }: CommitResult,
  notices: readonly string[],
): RunningOutcome {
  return { commit, unchanged, readBytes: disks.map(({ readBytes }) => readBytes), notices };
}

/** The bytes of a disk of a version. */
export function storedDisk({ objects }: Store, commit: string, disk: number): Promise<Buffer> {
  return readAll(new DiskSource(objects, readVersion(objects, commit).disks[disk]!));
}
