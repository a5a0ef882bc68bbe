import type { Command } from 'commander';
import { counted } from '../errors/index.ts';
import { measureStore, type StoreStats } from '../store/index.ts';
import { Context } from './context.ts';
import { formatBytes, formatRatio } from './format.ts';
import { formatTable } from './table.ts';

const COLUMNS = ['IMAGE', 'VERSIONS', 'DATA', 'UNIQUE', 'RATIO', 'BY DEDUP', 'BY DELTAS', 'BY DEFLATE'];

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
          const { objects, logicalBytes, uniqueBytes, saved } = stats;
          const rows = stats.images.map((image) => [
            image.name,
            String(image.versions),
            formatBytes(image.logicalBytes),
            formatBytes(image.uniqueBytes),
            formatRatio(image.uniqueBytes, image.logicalBytes),
            formatBytes(image.saved.dedup),
            formatBytes(image.saved.delta),
            formatBytes(image.saved.compression),
          ]);
          const images = rows.length === 0 ? '' : `${formatTable(COLUMNS, rows, [1, 2, 3, 4, 5, 6, 7])}\n`;
          return `${images}data in all versions  ${formatBytes(logicalBytes)}
in different clusters ${formatBytes(uniqueBytes)} (${formatRatio(uniqueBytes, logicalBytes)})
${stored}
saved                 ${formatBytes(saved.dedup)} by deduplication, ${formatBytes(saved.delta)} by deltas, ${formatBytes(saved.compression)} by compression
objects               ${counted(objects.blob, 'blob')}, ${counted(objects.tree, 'tree')}, ${counted(objects.commit, 'commit')}, ${counted(objects.tag, 'tag')}; ${stats.loose} loose, ${counted(stats.packs, 'pack')}
deltas                ${deltaText(stats)}
`;
        });
        context.damaged([...stats.images.map(({ damaged }) => damaged), ...(stats.damagedObjects ?? [])]);
      });
    });
}

/** How many objects are deltas, and how long the chains to them are. */
function deltaText({ deltas, chains }: StoreStats): string {
  if (deltas === 0) return 'none';
  const steps = chains.reduce((sum, count, depth) => sum + count * depth, 0);
  return `${deltas}, in chains of ${(steps / deltas).toFixed(1)} on average, ${chains.length - 1} at most`;
}
