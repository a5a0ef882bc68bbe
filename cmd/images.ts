import type { Command } from 'commander';
import { isoDate, listImages } from '../store/index.ts';
import { Context, damagedJson } from './context.ts';
import { formatBytes, shortId } from './format.ts';
import { formatTable } from './table.ts';

/** What git users commit to a branch need not be a version. */
const NO_DISKS = '(not made by imgstore)';

/** `imgstore images` */
export function define(command: Command): void {
  command
    .addHelpText('after', '\nExample:\n  imgstore images --json')
    .action(async (_options: unknown, command: Command) => {
      const context = new Context(command);
      await context.withStore(async (store) => {
        const images = await listImages(store);
        const json = images.map(({ name, id, commit, versions, disks, damaged }) => ({
          name,
          commit: id,
          date: commit && isoDate(commit.committer),
          versions,
          disks: disks.map((disk) => ({ name: disk.name, virtualSize: disk.virtualSize })),
          ...damagedJson(damaged),
        }));
        context.result(json, () => {
          if (images.length === 0) return "no image yet: run 'imgstore commit IMAGE'\n";
          const rows = json.map(({ name, commit, date, versions, disks, damaged }) => [
            name,
            commit === undefined ? '-' : shortId(commit),
            date?.slice(0, 16).replace('T', ' ') ?? '-',
            String(versions),
            [...disks.map(diskText), ...(damaged === undefined ? [] : ['(damaged)'])].join(', ') || NO_DISKS,
          ]);
          return formatTable(['IMAGE', 'VERSION', 'DATE', 'VERSIONS', 'DISKS'], rows, [3]);
        });
        context.damaged(images.map(({ damaged }) => damaged));
      });
    });
}

function diskText({ name, virtualSize }: { readonly name: string; readonly virtualSize: number }): string {
  return `${name} ${formatBytes(virtualSize)}`;
}
