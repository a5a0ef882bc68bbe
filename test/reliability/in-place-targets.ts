import { writeFile } from 'node:fs/promises';
import { noise, qemuBytes, qemuImg, qemuIo } from '../qcow2/qemu.ts';
import { diskOf } from '../store/disks.ts';

const CLUSTER = 4096;

/** The disk that targets are to hold: 72 clusters, of which some are zeros. */
export const WANTED = diskOf(
  Array.from({ length: 72 }, (_, i) => (i % 7 === 3 || (i > 40 && i < 46) ? 0 : i + 1)),
  CLUSTER,
);

/** A kind of file that a version is written into. */
export interface TargetKind {
  readonly name: string;
  /** Of the file. */
  readonly file: string;
  /** Makes one that differs from {@link WANTED}, in a folder. */
  readonly make: (folder: string) => Promise<void>;
  /** An internal snapshot that it has, which must stay as it is. */
  readonly snapshot?: string;
}

function image(name: string, options: string, ...files: readonly string[]): TargetKind {
  const file = 'target.qcow2';
  const make = async (folder: string) => {
    const path = `${folder}/${file}`;
    await writeFile(
      `${folder}/base.raw`,
      WANTED.map((byte, i) => (i % 40_000 < 9000 ? byte ^ 5 : byte)),
    );
    const source = [
      'convert',
      '-f',
      'raw',
      '-O',
      'qcow2',
      ...files,
      '-o',
      options,
      `${folder}/base.raw`,
      path,
    ];
    const overlay = ['create', '-f', 'qcow2', '-o', options, '-b', 'base.raw', '-F', 'raw', path];
    await qemuImg(...(files.includes('-b') ? overlay : source));
    await qemuIo(path, 'write -P 7 20k 30k');
    await qemuImg('snapshot', '-c', 'old', path);
    await qemuIo(path, 'write -P 9 60k 9k', 'write -P 3 160k 40k', 'discard 80k 16k');
  };
  return { name, file, make, snapshot: 'old' };
}

/** Of each way in which a target is changed one. */
export const TARGETS: readonly TargetKind[] = [
  {
    name: 'a raw file',
    file: 'target.raw',
    make: async (folder) => {
      const before = Buffer.concat([WANTED, noise(5000, 3)]);
      for (const at of [3, 9, 10, 44, 70]) before.fill(at, at * CLUSTER, at * CLUSTER + 3000);
      await writeFile(`${folder}/target.raw`, before);
    },
  },
  image('a qcow2', 'cluster_size=4096'),
  image('a qcow2 with clusters of 512 bytes', 'cluster_size=512'),
  image('a qcow2 with subclusters', 'cluster_size=16384,extended_l2=on'),
  image('a compressed qcow2', 'cluster_size=16384', '-c'),
  image('an overlay', 'cluster_size=4096', '-b'),
];

/** Bytes of the snapshot of a target. */
export async function snapshotBytes(path: string, snapshot: string): Promise<Buffer> {
  const out = `${path}.of-snapshot`;
  await qemuImg('convert', '-l', snapshot, '-f', 'qcow2', '-O', 'qcow2', path, out);
  return qemuBytes(out);
}

/** Fails unless QEMU finds nothing wrong with an image but leaks. */
export async function hasLeaksOnly(path: string): Promise<void> {
  const report = await qemuImg('check', '--output=json', '-f', 'qcow2', path).catch(
    (error: Error & { stdout?: string }) => error.stdout ?? '',
  );
  const { 'check-errors': errors, corruptions = 0 } = JSON.parse(report);
  if (errors + corruptions > 0) throw new Error(report);
}
