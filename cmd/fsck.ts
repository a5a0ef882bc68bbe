import type { Command } from 'commander';
import { ImgstoreError, shellWord } from '../errors/index.ts';
import { checkStore, type FsckReport, type Touched } from '../store/index.ts';
import { Context } from './context.ts';
import { ExitCode } from './exit-code.ts';
import { formatBytes, formatSeconds, shortId } from './format.ts';

interface FsckOptions {
  readonly full?: boolean;
  readonly quick?: boolean;
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
    .addHelpText(
      'after',
      '\nExample:\n  imgstore fsck && echo "nothing is damaged"\n\nExit codes: 0 nothing is damaged, 3 damage found.',
    )
    .action(async (options: FsckOptions, command: Command) => {
      const context = new Context(command);
      if (options.full && options.quick)
        throw new ImgstoreError('USAGE', '--full and --quick exclude each other: choose one');
      const report = await context.withStore((store) =>
        context.monitored('fsck', (monitor) => checkStore(store, options, monitor)),
      );
      context.result(report, () => fsckText(report));
      if (!report.clean) process.exitCode = ExitCode.damage;
    });
}

function fsckText(report: FsckReport): string {
  const { damaged, missing, files, refs, notices } = report;
  const lines = [
    ...shownOf(files, ({ path, reason }) => `damaged file: ${path}: ${reason}: ${REPAIR}`),
    ...shownOf(damaged, (object) => {
      const what = `damaged ${object.kind ?? 'object'}: ${shortId(object.id)} in ${object.where}: ${object.reason}`;
      return object.lost
        ? `${what}${touchesText(object.touches)}: ${HEAL}`
        : `${what}: nothing is lost, the object can be read: ${REPAIR}`;
    }),
    ...shownOf(missing, ({ id, kind, neededBy, touches }) => {
      return `missing ${kind ?? 'object'}: ${shortId(id)}, needed by ${shortened(neededBy)}${touchesText(touches)}: ${HEAL}`;
    }),
    ...shownOf(refs, ({ name, where, reason }) => `damaged ref: ${name} (${where}): ${reason}: ${REPAIR}`),
    ...shownOf(notices, (notice) => `notice: ${notice}`),
    summary(report),
  ];
  return `${lines.join('\n')}\n`;
}

const REPAIR = 'run imgstore fsck --repair';
const HEAL = `run imgstore fsck --repair --from ${shellWord('IMAGE')} with an image that has these bytes`;

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
  return `${name} ${disk} ${shown.join(', ')}${more > 0 ? ` and ${more} more ranges` : ''}`;
}

function shortened(neededBy: string): string {
  return neededBy.replace(/\b([0-9a-f]{12})[0-9a-f]{52}\b/g, '$1');
}

function summary({ objects, dangling, damaged, missing, files, refs, clean, seconds }: FsckReport): string {
  const looked = `${objects} objects, ${dangling} of them dangling, in ${formatSeconds(seconds)}`;
  if (clean) return `clean: nothing is damaged: ${looked}`;
  const counts = [
    [damaged.length, 'damaged objects'],
    [missing.length, 'missing objects'],
    [files.length, 'damaged files'],
    [refs.length, 'damaged refs'],
  ] as const;
  const found = counts.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  return `damaged: ${found.join(', ')}: ${looked}`;
}
