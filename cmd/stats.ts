import type { Command } from 'commander';
import { measureStore } from '../store/index.ts';
import { Context } from './context.ts';
import { formatBytes, formatRatio, formatTable } from './format.ts';

/** `imgstore stats` */
export function define(command: Command): void {
  command
    .argument('[rev...]', 'images or versions to measure (default: all images)')
    .addHelpText('after', '\nExample:\n  imgstore stats')
    .action(async (revisions: readonly string[], _options: unknown, command: Command) => {
      const context = new Context(command);
      await context.withStore(async (store) => {
        const stats = await measureStore(store, revisions);
        context.result(stats, () => {
          // What is stored is that of the whole store: beside some of its images a ratio would say nothing.
          const stored =
            revisions.length === 0
              ? `stored                ${formatBytes(stats.storedBytes)} (${formatRatio(stats.storedBytes, stats.logicalBytes)})`
              : `stored by all images  ${formatBytes(stats.storedBytes)}`;
          const { objects, logicalBytes, uniqueBytes } = stats;
          const rows = stats.images.map((image) => [
            image.name,
            String(image.versions),
            formatBytes(image.logicalBytes),
            formatBytes(image.uniqueBytes),
            formatRatio(image.uniqueBytes, image.logicalBytes),
          ]);
          const images =
            rows.length === 0
              ? ''
              : `${formatTable(['IMAGE', 'VERSIONS', 'DATA', 'UNIQUE', 'RATIO'], rows, [1, 2, 3, 4])}\n`;
          return `${images}data in all versions  ${formatBytes(logicalBytes)}
in different clusters ${formatBytes(uniqueBytes)} (${formatRatio(uniqueBytes, logicalBytes)})
${stored}
objects               ${objects.blob} blobs, ${objects.tree} trees, ${objects.commit} commits, ${objects.tag} tags; ${stats.loose} loose, ${stats.packs} packs
`;
        });
        context.damaged([...stats.images.map(({ damaged }) => damaged), ...(stats.damagedObjects ?? [])]);
      });
    });
}
