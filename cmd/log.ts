import type { Command } from 'commander';
import { type DamagedRef, isoDate, type LoggedVersion, logVersions, subject } from '../store/index.ts';
import { countArgument } from './arguments.ts';
import { Context, damagedJson } from './context.ts';
import { formatBytes, personJson, shortId } from './format.ts';
import { Graph } from './graph.ts';

interface LogOptions {
  readonly oneline?: boolean;
  readonly graph?: boolean;
  readonly all?: boolean;
  readonly maxCount?: number;
}

/** `imgstore log` */
export function define(command: Command): void {
  command
    .argument('[rev]', 'where to start')
    .option('--oneline', 'one line for each')
    .option('--graph', 'draw how they follow each other')
    .option('--all', 'of all branches, tags and remotes')
    .option('-n, --max-count <n>', 'at most so many', countArgument)
    .addHelpText('after', '\nExample:\n  imgstore log web --oneline -n 10')
    .action(async (revision: string | undefined, options: LogOptions, command: Command) => {
      const context = new Context(command);
      await context.withStore(async (store) => {
        const versions: LoggedVersion[] = [];
        const damaged: (string | undefined)[] = [];
        const onDamaged = (ref: DamagedRef) => damaged.push(ref.message);
        const most = options.maxCount ?? Number.POSITIVE_INFINITY;
        if (most > 0) {
          for await (const version of logVersions(store, { revision, all: options.all }, onDamaged)) {
            versions.push(version);
            damaged.push(version.damaged);
            if (versions.length >= most) break;
          }
        }
        context.result(versions.map(logJson), () => logText(versions, options));
        context.damaged(damaged);
      });
    });
}

function logJson({ id, commit, branch, refs, disks, damaged }: LoggedVersion) {
  return {
    commit: id,
    parents: commit.parents,
    author: personJson(commit.author),
    message: commit.message.trimEnd(),
    branch: branch ?? null,
    refs,
    disks: disks.map(({ name, virtualSize }) => ({ name, virtualSize })),
    ...damagedJson(damaged),
  };
}

function logText(versions: readonly LoggedVersion[], { oneline, graph }: LogOptions): string {
  const drawing = graph ? new Graph() : undefined;
  return versions
    .map((version, i) => {
      const lines = oneline
        ? [onelineText(version)]
        : [...fullText(version), ...(i < versions.length - 1 ? [''] : [])];
      const drawn = drawing?.draw(version.id, version.commit.parents, lines) ?? lines;
      return `${drawn.join('\n')}\n`;
    })
    .join('');
}

function refsText({ refs }: LoggedVersion): string {
  return refs.length === 0 ? '' : ` (${refs.join(', ')})`;
}

function onelineText(version: LoggedVersion): string {
  return `${shortId(version.id)}${refsText(version)} ${subject(version.commit.message)}`;
}

function fullText(version: LoggedVersion): string[] {
  const { author, message } = version.commit;
  const disks = version.disks
    .map(({ name, virtualSize }) => `${name} ${formatBytes(virtualSize)}`)
    .join(', ');
  return [
    `commit ${version.id}${refsText(version)}`,
    `Author: ${author.name} <${author.email}>`,
    `Date:   ${isoDate(author)}`,
    ...(disks === '' ? [] : [`Disks:  ${disks}`]),
    ...(version.damaged === undefined ? [] : ['Damaged']),
    '',
    ...message
      .trimEnd()
      .split('\n')
      .map((line) => (line === '' ? '' : `    ${line}`)),
  ];
}
