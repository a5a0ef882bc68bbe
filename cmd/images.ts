import type { Command } from 'commander';
import { isoDate, listImages } from '../store/index.ts';
import { Context } from './context.ts';
import { formatBytes, formatTable, shortId } from './format.ts';

/** `imgstore images` */
export function define(command: Command): void {
  command
    .addHelpText('after', '\nExample:\n  imgstore images --json')
    .action(async (_options: unknown, command: Command) => {
      const context = new Context(command);
      await context.withStore(async (store) => {
        const images = await listImages(store);
        const json = images.map(({ name, id, commit, versions, disks }) => ({
          name,
          commit: id,
          date: isoDate(commit.committer),
          versions,
          disks: disks.map((disk) => ({ name: disk.name, virtualSize: disk.virtualSize })),
        }));
        context.result(json, () => {
          if (images.length === 0) return "no image yet: run 'imgstore commit IMAGE'\n";
          const rows = json.map(({ name, commit, date, versions, disks }) => [
            name,
            shortId(commit),
            date.slice(0, 16).replace('T', ' '),
            String(versions),
            disks.map((disk) => `${disk.name} ${formatBytes(disk.virtualSize)}`).join(', '),
          ]);
          return formatTable(['IMAGE', 'VERSION', 'DATE', 'VERSIONS', 'DISKS'], rows, [3]);
        });
      });
    });
}
