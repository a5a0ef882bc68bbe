import type { Command } from 'commander';
import { findDisk, type MappedRange, mapDisk, readVersion, resolveCommit } from '../store/index.ts';
import { Context } from './context.ts';

/** `imgstore map` */
export function define(command: Command): void {
  command
    .argument('<rev>', 'the version')
    .option('--disk <name>', 'which disk, of a version with several')
    .addHelpText('after', '\nExample:\n  imgstore map web --json')
    .action(async (revision: string, options: { disk?: string }, command: Command) => {
      const context = new Context(command);
      await context.withStore(async (store) => {
        const disk = findDisk(readVersion(store.objects, await resolveCommit(store, revision)), options.disk);
        const ranges: MappedRange[] = [];
        for await (const range of mapDisk(store, disk)) ranges.push(range);
        context.result(ranges, () =>
          ranges.map(({ offset, length, kind }) => `${offset} ${length} ${kind}\n`).join(''),
        );
      });
    });
}
