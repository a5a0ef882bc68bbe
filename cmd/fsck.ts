import type { Command } from 'commander';
import { counted, ImgstoreError } from '../errors/index.ts';
import {
  checkStore,
  type DiskFormat,
  type FsckReport,
  type RepairReport,
  repairStore,
  type Store,
  type Touched,
} from '../store/index.ts';
import { collectPaths, pathArgument } from './arguments.ts';
import { Context } from './context.ts';
import { ExitCode } from './exit-code.ts';
import { formatBytes, formatSeconds, shortId } from './format.ts';
import { DISK_FORMAT_HELP, diskFormatArgument } from './image-format.ts';
import { imageKey, KEY_FILE_HELP } from './image-key.ts';

interface FsckOptions {
  readonly full?: boolean;
  readonly quick?: boolean;
  readonly repair?: boolean;
  readonly from?: readonly string[];
  readonly format?: DiskFormat;
  readonly allowBacking?: readonly string[];
  readonly keyFile?: string;
  readonly forceShare?: boolean;
}

/** Findings of one kind that are shown; JSON has all. */
const MOST_SHOWN = 50;
/** Parts of versions that are shown with an object. */
const MOST_TOUCHES = 3;
/** Ranges of a disk that are shown. */
const MOST_RANGES = 3;

/** `imgstore fsck` */
export function define(command: Command): void {
  command
    .option('--full', 'read every object (the default)')
    .option('--quick', 'check the structure alone: inflate no clusters')
    .option('--repair', 'bring back what can be brought back, and set damaged files aside')
    .option(
      '--from <image|remote>',
      'with --repair: what may still hold what is lost (several times): an image, a block device, an NBD URI, or the name of a remote',
      collectPaths,
    )
    .option('--format <format>', `of the images: ${DISK_FORMAT_HELP}`, diskFormatArgument)
    .option(
      '--allow-backing <dir>',
      'also follow backing files of the images into this folder (several times)',
      collectPaths,
    )
    .option('--key-file <file>', KEY_FILE_HELP, pathArgument)
    .option('--force-share', 'read images although a running QEMU writes to them')
    .addHelpText(
      'after',
      '\nExample:\n  imgstore fsck && echo "nothing is damaged"\n  imgstore fsck --repair --from web.qcow2\n  imgstore fsck --repair --from origin\n\nExit codes: 0 nothing is damaged (any more), 3 damage found (or left).',
    )
    .action(async (options: FsckOptions, command: Command) => {
      const context = new Context(command);
      refuseContradictions(options);
      const report = await context.withStore((store) => run(store, options, context));
      context.result(report, () => repairText(report) + fsckText(report));
      if (!report.clean) process.exitCode = ExitCode.damage;
    });
}

function refuseContradictions({ full, quick, repair, from }: FsckOptions): void {
  const usage = (message: string) => new ImgstoreError('USAGE', message);
  if (full && quick) throw usage('--full and --quick exclude each other: choose one');
  if (repair && quick) throw usage('--repair reads every object: leave --quick away');
  if (from !== undefined && !repair) throw usage('--from is for --repair: add it');
}

function run(store: Store, options: FsckOptions, context: Context): Promise<FsckReport | RepairReport> {
  return context.monitored('fsck', (monitor) =>
    options.repair
      ? repairStore(store, { ...options, key: imageKey(options.keyFile) }, monitor)
      : checkStore(store, options, monitor),
  );
}

function repairText(report: FsckReport | RepairReport): string {
  if (!('repaired' in report)) return '';
  const lines = shownOf(report.repaired, (line) => `repaired: ${line}`);
  if (report.aside !== undefined) lines.push(`damaged files, as they were, are in ${report.aside}`);
  return lines.map((line) => `${line}\n`).join('');
}

function fsckText(report: FsckReport): string {
  const { damaged, missing, files, refs, notices } = report;
  const lines = [
    ...shownOf(files, ({ path, reason }) => `damaged file: ${path}: ${reason}: ${REPAIR}`),
    ...shownOf(damaged, (object) => {
      const what = `damaged ${object.kind ?? 'object'}: ${shortId(object.id)} in ${object.where}: ${shortened(object.reason)}`;
      return object.lost
        ? `${what}${touchesText(object.touches)}: ${healAdvice(object.kind)}`
        : `${what}: nothing is lost, the object can be read: ${REPAIR}`;
    }),
    ...shownOf(missing, ({ id, kind, neededBy, touches }) => {
      return `missing ${kind ?? 'object'}: ${shortId(id)}, needed by ${shortened(neededBy)}${touchesText(touches)}: ${healAdvice(kind)}`;
    }),
    ...shownOf(
      refs,
      ({ name, where, reason }) => `damaged ref: ${name} (${where}): ${shortened(reason)}: ${REPAIR}`,
    ),
    ...shownOf(notices, (notice) => `notice: ${notice}`),
    summary(report),
  ];
  return `${lines.join('\n')}\n`;
}

const REPAIR = 'run imgstore fsck --repair';
const HEAL = 'run imgstore fsck --repair --from IMAGE with an image that has these bytes';
const COPY =
  'no image has it: run imgstore fsck --repair --from REMOTE, or where there is no remote: bring it from another copy of the store with git fetch --refetch COPY';

/** Images have clusters, and so what maps and descriptions are made of. */
function healAdvice(kind: FsckReport['missing'][number]['kind']): string {
  return kind === 'commit' || kind === 'tag' ? COPY : HEAL;
}

function shownOf<T>(findings: readonly T[], text: (finding: T) => string): string[] {
  const lines = findings.slice(0, MOST_SHOWN).map(text);
  const more = findings.length - lines.length;
  return more > 0 ? [...lines, `and ${more} more of this kind: see --json`] : lines;
}

function touchesText(touches: readonly Touched[]): string {
  if (touches.length === 0) return '';
  const parts = touches.slice(0, MOST_TOUCHES).map(touchText);
  const more = touches.length - parts.length;
  return `, part of ${parts.join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
}

function touchText({ name, disk, path, ranges }: Touched): string {
  if (disk === undefined) return path === '' ? `${name} as a whole` : `${name} ${path}`;
  const shown = ranges
    .slice(0, MOST_RANGES)
    .map(({ offset, length }) => `${formatBytes(length)} at ${offset}`);
  const more = ranges.length - shown.length;
  return `${name} ${disk} ${shown.join(', ')}${more > 0 ? ` and ${counted(more, 'more range')}` : ''}`;
}

/** Ids as people read them. */
function shortened(text: string): string {
  return text.replace(/\b([0-9a-f]{12})[0-9a-f]{52}\b/g, '$1');
}

function summary({ objects, dangling, damaged, missing, files, refs, clean, seconds }: FsckReport): string {
  const looked = `${counted(objects, 'object')}, ${dangling} of them dangling, in ${formatSeconds(seconds)}`;
  if (clean) return `clean: nothing is damaged: ${looked}`;
  const counts = [
    [damaged.length, 'damaged object'],
    [missing.length, 'missing object'],
    [files.length, 'damaged file'],
    [refs.length, 'damaged ref'],
  ] as const;
  const found = counts.filter(([count]) => count > 0).map(([count, what]) => counted(count, what));
  return `damaged: ${found.join(', ')}: ${looked}`;
}
