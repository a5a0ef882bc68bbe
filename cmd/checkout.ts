import { type Command, Option } from 'commander';
import { counted, ImgstoreError, isImgstoreError } from '../errors/index.ts';
import type { CompressionType, ImageFormat } from '../qcow2/index.ts';
import {
  type Backing,
  type CheckoutAllResult,
  checkoutAll,
  checkoutInPlace,
  checkoutSnapshots,
  checkoutVersion,
  type InPlaceResult,
  type SnapshotsResult,
} from '../store/index.ts';
import { collectPaths, countArgument, pathArgument } from './arguments.ts';
import { checkOutLazily, refuseSenseless } from './checkout-lazily.ts';
import { Context } from './context.ts';
import { formatBytes, formatSeconds } from './format.ts';
import { formatArgument } from './image-format.ts';

interface CheckoutOptions {
  readonly output?: string;
  readonly disk?: string;
  readonly format?: ImageFormat;
  readonly backing?: string;
  readonly depth?: number;
  readonly compress?: CompressionType;
  readonly allowBacking?: readonly string[];
  readonly track?: boolean;
  readonly all?: boolean;
  readonly inPlace?: boolean;
  readonly snapshots?: boolean;
  readonly active?: string;
  readonly force?: boolean;
  readonly skipDamaged?: boolean;
  readonly socket?: string;
  readonly serve: boolean;
}

/** `imgstore checkout` */
export function define(command: Command): void {
  command
    .argument('<rev...>', 'the version; several with --snapshots')
    .option('-o, --output <file>', "the file to write (default: the revision's name)", pathArgument)
    .option('--disk <name>', 'which disk, of a version with several')
    .option('--format <format>', "qcow2 or raw (default: by the file's ending, else qcow2)", formatArgument)
    .option(
      '--backing <what>',
      "none, chain (a file for each earlier version), fork (one for each at which history forks), nbd (a server's export: done at once), or a file: './none' is a file",
      pathArgument,
      'none',
    )
    .option('--depth <n>', 'of a chain: at most so many files below the new one', countArgument)
    .addOption(
      new Option(
        '--compress <type>',
        'compress clusters: smaller, slower to write; zstd needs QEMU 5.1',
      ).choices(['zlib', 'zstd']),
    )
    .option(
      '--allow-backing <dir>',
      'also follow backing files into this folder (several times)',
      collectPaths,
    )
    .addOption(
      new Option(
        '--in-place',
        'write what differs into the file or block device of -o, which is there',
      ).conflicts(['backing', 'depth', 'compress', 'force', 'skipDamaged', 'track']),
    )
    .addOption(
      new Option('--snapshots', 'write the versions as internal snapshots of one qcow2').conflicts([
        'format',
        'backing',
        'depth',
        'compress',
        'allowBacking',
        'inPlace',
        'skipDamaged',
        'track',
      ]),
    )
    .option('--active <rev>', 'with --snapshots: which of them the disk is (default: the last)')
    .addOption(
      new Option(
        '--track',
        'put a dirty bitmap into the qcow2, so that committing it reads only what QEMU has written since',
      ).conflicts('skipDamaged'),
    )
    .addOption(
      new Option(
        '--all',
        'write all disks of the version and its attachments into the folder of -o',
      ).conflicts(['disk', 'inPlace', 'snapshots', 'skipDamaged']),
    )
    .option(
      '--socket <path>',
      "with --backing nbd: where the server listens (default: the store's imgstore/nbd.sock)",
      pathArgument,
    )
    .option('--no-serve', 'with --backing nbd: start no server when none listens there')
    .option('-f, --force', 'replace a file that is in the way')
    .option(
      '--skip-damaged',
      'leave as zeros what is damaged or missing in the store, list it, and exit with 3',
    )
    .addHelpText(
      'after',
      '\nExample:\n  imgstore checkout web~1 -o before.qcow2\n  imgstore checkout web -o web.qcow2 --backing chain\n  imgstore checkout web -o web.qcow2 --compress zstd\n  imgstore checkout web~1 -o web.qcow2 --in-place\n  imgstore checkout web -o web.qcow2 --backing nbd\n  imgstore checkout web~2 web~1 web -o all.qcow2 --snapshots',
    )
    .action(async (revisions: readonly string[], options: CheckoutOptions, command: Command) => {
      const context = new Context(command);
      const isLazy = options.backing === 'nbd';
      refuseSenseless(isLazy, options);
      if (options.snapshots) {
        const made = await context.withStore((store) =>
          context.monitored('checkout', (monitor) =>
            checkoutSnapshots(store, { ...options, revisions }, monitor),
          ),
        );
        context.result(made, () => describeSnapshots(made));
        return;
      }
      const revision = onlyRevision(revisions, options);
      if (options.all) {
        const { output } = options;
        if (output === undefined)
          throw new ImgstoreError('USAGE', '--all: say with -o which folder to write into');
        const whole = { ...options, revision, output, backing: backingOf(options) };
        const made = await context.withStore((store) =>
          context.monitored('checkout', (monitor) =>
            checkoutAll(store, whole, monitor).catch((error: unknown) => adviseOnDamage(error)),
          ),
        );
        context.result(made, () => describeAll(made));
        return;
      }
      if (options.inPlace) {
        const { output } = options;
        if (output === undefined)
          throw new ImgstoreError('USAGE', '--in-place: say with -o what to write into');
        const changed = await context.withStore((store) =>
          context.monitored('checkout', (monitor) =>
            checkoutInPlace(store, { ...options, revision, output }, monitor).catch((error: unknown) =>
              adviseOnDamage(error, ', into a new file'),
            ),
          ),
        );
        context.result(changed, () => describeChanges(changed));
        return;
      }
      const result = await context.withStore((store) =>
        context.monitored('checkout', (monitor) =>
          isLazy
            ? checkOutLazily(store, revision, options, monitor)
            : checkoutVersion(store, { ...options, revision, backing: backingOf(options) }, monitor).catch(
                (error: unknown) => adviseOnDamage(error),
              ),
        ),
      );
      context.damaged(
        (result.damaged ?? []).map(
          ({ file, disk, offset, length, reason }) =>
            `${file}: disk ${disk}: ${length} bytes at ${offset} are zeros: ${reason}`,
        ),
      );
      context.result(result, () => {
        const on = result.backing === null ? '' : ` on ${result.backing}`;
        return `${result.file}: ${result.format}, ${formatBytes(result.virtualSize)}${on}, ${formatBytes(result.writtenBytes)} written in ${formatSeconds(result.seconds)}\n`;
      });
    });
}

/** @throws ImgstoreError `USAGE` for what only --snapshots has */
function onlyRevision(revisions: readonly string[], { active }: CheckoutOptions): string {
  const [revision] = revisions;
  if (revision === undefined || revisions.length > 1)
    throw new ImgstoreError('USAGE', `${revisions.length} versions: name one, or pass --snapshots`);
  if (active !== undefined) throw new ImgstoreError('USAGE', '--active is for --snapshots');
  return revision;
}

function backingOf({ backing }: CheckoutOptions): Backing {
  return backing === 'none' || backing === 'chain' || backing === 'fork' ? backing : { file: backing! };
}

function describeAll({ disks, attachments, seconds }: CheckoutAllResult): string {
  const lines = disks.map(
    ({ file, format, virtualSize, writtenBytes }) =>
      `${file}: ${format}, ${formatBytes(virtualSize)}, ${formatBytes(writtenBytes)} written\n`,
  );
  const files = attachments.map(({ file }) => `${file}\n`);
  return `${[...lines, ...files].join('')}in ${formatSeconds(seconds)}\n`;
}

function describeSnapshots({ file, virtualSize, writtenBytes, snapshots, seconds }: SnapshotsResult): string {
  const names = snapshots.map(({ name }) => name).join(', ');
  return `${file}: qcow2, ${formatBytes(virtualSize)}, with ${counted(snapshots.length, 'snapshot')} (${names}), ${formatBytes(writtenBytes)} written in ${formatSeconds(seconds)}\n`;
}

function describeChanges(result: InPlaceResult): string {
  const { file, format, virtualSize, changedBytes, writtenBytes, zeroedBytes, seconds } = result;
  const done = `${formatBytes(changedBytes)} differed, ${formatBytes(writtenBytes)} written, ${formatBytes(zeroedBytes)} made zeros`;
  return `${file}: ${format}, ${formatBytes(virtualSize)}, in place: ${done} in ${formatSeconds(seconds)}\n`;
}

/** Says what to do about damage and loss, when the error does not say so itself. */
function adviseOnDamage(error: unknown, how = ''): never {
  const isLoss = isImgstoreError(error, 'NOT_FOUND') && error.data.id !== undefined;
  if (
    !isImgstoreError(error) ||
    !(isLoss || error.code === 'DAMAGED') ||
    error.message.includes("'imgstore ")
  )
    throw error;
  const advice = `see what 'imgstore fsck' says, or take what is whole with --skip-damaged${how}`;
  throw new ImgstoreError(error.code, `${error.message}: ${advice}`, error.data, error);
}
