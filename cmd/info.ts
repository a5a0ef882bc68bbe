import type { Command } from 'commander';
import { BITMAP_FLAWS, type BitmapFacts, type SnapshotFacts } from '../qcow2/index.ts';
import { type DiskDetails, type DiskFormat, describeDisk } from '../store/index.ts';
import { collectPaths, pathArgument } from './arguments.ts';
import { Context } from './context.ts';
import { formatBytes } from './format.ts';
import { DISK_FORMAT_HELP, diskFormatArgument } from './image-format.ts';

interface InfoOptions {
  readonly format?: DiskFormat;
  readonly allowBacking?: readonly string[];
}

/** `imgstore info` */
export function define(command: Command): void {
  command
    .argument('<image>', 'the file, or an NBD URI', pathArgument)
    .option('--format <format>', DISK_FORMAT_HELP, diskFormatArgument)
    .option('--allow-backing <dir>', 'also follow extents into this folder (several times)', collectPaths)
    .addHelpText('after', '\nExample:\n  imgstore info web.qcow2')
    .action(async (image: string, options: InfoOptions, command: Command) => {
      const facts = await describeDisk(image, options);
      new Context(command).result(facts, () => infoText(facts));
    });
}

function infoText({
  path,
  format,
  virtualSize,
  fileSize,
  allocatedBytes,
  qcow2,
  files,
  origin,
}: DiskDetails): string {
  const lines: [string, string | undefined][] = [
    ['image', path],
    ['format', format],
    ['virtual size', `${formatBytes(virtualSize)} (${virtualSize} bytes)`],
    ['file size', fileSize === undefined ? undefined : formatBytes(fileSize)],
    ['on disk', allocatedBytes === undefined ? undefined : formatBytes(allocatedBytes)],
    ['files', files === undefined || files.length < 2 ? undefined : list(files.length, files)],
  ];
  if (qcow2 !== undefined) {
    const flags = (['extendedL2', 'lazyRefcounts', 'dirty', 'corrupt'] as const).filter(
      (flag) => qcow2[flag],
    );
    lines.push(
      ['qcow2 version', `${qcow2.version} (compat ${qcow2.compat})`],
      ['cluster size', formatBytes(qcow2.clusterSize)],
      ['compression', qcow2.compressionType],
      ['refcount bits', String(qcow2.refcountBits)],
      [
        'backing file',
        qcow2.backingFile === undefined
          ? undefined
          : visible(`${qcow2.backingFile} (${qcow2.backingFormat ?? 'format not named'})`),
      ],
      ['checked out', origin && originText(origin)],
      ['data file', qcow2.dataFile?.name && visible(qcow2.dataFile.name)],
      [
        'encrypted',
        qcow2.encrypted && `with ${qcow2.encrypted.toUpperCase()}: only its key shows what the disk holds`,
      ],
      ['snapshots', list(qcow2.snapshots, qcow2.snapshotList.map(snapshotText))],
      ['bitmaps', list(qcow2.bitmaps, qcow2.bitmapList.map(bitmapText))],
      ['flags', flags.length === 0 ? undefined : flags.join(', ')],
    );
  }
  return lines
    .flatMap(([name, value]) => (value === undefined ? [] : `${`${name}:`.padEnd(15)}${value}\n`))
    .join('');
}

/** How many there are, and one line for each. */
function list(count: number, lines: readonly string[]): string | undefined {
  if (count === 0) return undefined;
  // A directory that is not valid lists none, where the header says that it may be so.
  const known = lines.length === 0 ? ' (their directory is not valid)' : '';
  return [`${count}${known}`, ...lines].join('\n  ');
}

/** A name that an image holds, in one line and with nothing that a terminal obeys. */
function visible(name: string): string {
  return name.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

function originText({ commit, disk, base }: NonNullable<DiskDetails['origin']>): string {
  const on = base && `, on disk ${base.disk} of ${base.commit.slice(0, 12)} in ${base.file}`;
  return visible(`disk ${disk} of ${commit.slice(0, 12)}${on ?? ''}, by its own word`);
}

function snapshotText({ id, name, date, diskSize, vmStateSize }: SnapshotFacts): string {
  const state = vmStateSize === 0 ? 'no VM state' : `VM state ${formatBytes(vmStateSize)}`;
  const when = date.slice(0, 19).replace('T', ' ');
  return `${visible(JSON.stringify(id))} ${visible(JSON.stringify(name))}, ${when} UTC, disk ${formatBytes(diskSize)}, ${state}`;
}

function bitmapText({ name, granularity, flaw }: BitmapFacts): string {
  const state = flaw === undefined ? 'valid' : `not valid: ${BITMAP_FLAWS[flaw]}`;
  return `${visible(JSON.stringify(name))}, granularity ${formatBytes(granularity)}, ${state}`;
}
