import type { Command } from 'commander';
import { isoDate, summarizeVersion, type VersionSummary } from '../store/index.ts';
import { Context } from './context.ts';
import { formatBytes, personJson } from './format.ts';

/** `imgstore show` */
export function define(command: Command): void {
  command
    .argument('<rev>', 'the version')
    .addHelpText('after', '\nExample:\n  imgstore show web~1')
    .action(async (revision: string, _options: unknown, command: Command) => {
      const context = new Context(command);
      const summary = await context.withStore(async (store) => {
        return summarizeVersion(store, revision);
      });
      context.result(showJson(summary), () => showText(summary));
    });
}

function showJson({ id, commit, refs, disks, files, changedBytes }: VersionSummary) {
  return {
    commit: id,
    tree: commit.tree,
    parents: commit.parents,
    author: personJson(commit.author),
    committer: personJson(commit.committer),
    message: commit.message.trimEnd(),
    refs,
    changedBytes: changedBytes ?? null,
    disks: disks.map(({ disk, dataBytes }) => ({
      name: disk.name,
      virtualSize: disk.virtualSize,
      clusterSize: disk.clusterSize,
      dataBytes,
      map: disk.map.id ?? null,
      source: disk.source,
    })),
    files,
  };
}

function showText({ id, commit, refs, disks, files, changedBytes }: VersionSummary): string {
  const { author, parents, message } = commit;
  const lines = [
    `commit ${id}${refs.length === 0 ? '' : ` (${refs.join(', ')})`}`,
    ...parents.map((parent) => `Parent: ${parent}`),
    `Author: ${author.name} <${author.email}>`,
    `Date:   ${isoDate(author)}`,
    '',
    ...message
      .trimEnd()
      .split('\n')
      .map((line) => (line === '' ? '' : `    ${line}`)),
    '',
    ...disks.map(
      ({ disk, dataBytes }) =>
        `disk ${disk.name}: ${formatBytes(disk.virtualSize)}, ${formatBytes(dataBytes)} of data, from ${disk.source.format ?? 'unknown'}`,
    ),
    ...files.map(({ name, size }) => `file ${name}: ${formatBytes(size)}`),
    ...(changedBytes === undefined ? [] : [`changed since the parent: ${formatBytes(changedBytes)}`]),
  ];
  return `${lines.join('\n')}\n`;
}
