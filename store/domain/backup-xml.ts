import { join } from 'node:path';
import type { DomainDisk } from './domain.ts';
import type { HeldDisk } from './held-disk.ts';
import { formatXml } from './xml.ts';

/** Where the server of a backup listens, and where QEMU keeps what the guest overwrites. */
export interface BackupPlace {
  readonly socket: string;
  readonly folder: string;
  /** Of the attempt: libvirt makes the scratch files, which must not be there. */
  readonly attempt: number;
}

/** A backup that is read over NBD: of what a checkpoint has, or of all of a disk. */
export function backupXml(
  disks: readonly HeldDisk[],
  all: readonly DomainDisk[],
  { socket, folder, attempt }: BackupPlace,
): Promise<string> {
  const held = disks.map(({ disk: { target }, since }) => ({
    '@name': target,
    '@backup': 'yes',
    '@type': 'file',
    ...(since === undefined
      ? { '@backupmode': 'full' }
      : {
          '@backupmode': 'incremental',
          '@incremental': since.checkpoint,
          '@exportbitmap': bitmapOf(target),
        }),
    '@exportname': target,
    scratch: { '@file': join(folder, `${target}-${attempt}.qcow2`) },
  }));
  const others = othersThan(disks, all).map((target) => ({ '@name': target, '@backup': 'no' }));
  return formatXml({
    domainbackup: {
      '@mode': 'pull',
      server: { '@transport': 'unix', '@socket': socket },
      disks: { disk: [...held, ...others] },
    },
  });
}

/** The name of the bitmap in an export. */
export function bitmapOf(target: string): string {
  return `backup-${target}`;
}

/** A checkpoint that begins with a backup, of the disks that have room for a bitmap. */
export function checkpointXml(
  name: string,
  description: string,
  disks: readonly HeldDisk[],
  all: readonly DomainDisk[],
): Promise<string> {
  const held = disks.map(({ disk: { target }, image }) => ({
    '@name': target,
    '@checkpoint': image.untracked === undefined ? 'bitmap' : 'no',
  }));
  const others = othersThan(disks, all).map((target) => ({ '@name': target, '@checkpoint': 'no' }));
  return formatXml({ domaincheckpoint: { name, description, disks: { disk: [...held, ...others] } } });
}

function othersThan(disks: readonly HeldDisk[], all: readonly DomainDisk[]): string[] {
  const held = new Set(disks.map(({ disk }) => disk.target));
  return all.map(({ target }) => target).filter((target) => !held.has(target));
}
