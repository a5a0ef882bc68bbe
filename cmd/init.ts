import type { Command } from 'commander';
import { initStore } from '../store/index.ts';
import { pathArgument, sizeArgument } from './arguments.ts';
import { Context } from './context.ts';
import { formatBytes } from './format.ts';

/** `imgstore init` */
export function define(command: Command): void {
  command
    .argument('[dir]', 'folder that gets the store', pathArgument, '.')
    .option('--cluster-size <size>', 'size of a cluster, 4K to 2M (default: 64K)', sizeArgument)
    .addHelpText('after', '\nExample:\n  imgstore init /var/lib/vms --cluster-size 64K')
    .action(async (dir: string, options: { clusterSize?: number }, command: Command) => {
      const context = new Context(command);
      const store = await initStore(dir, options);
      store.close();
      const { folder, clusterSize } = store;
      context.result(
        { store: folder, clusterSize },
        () => `made a store in ${folder} (clusters of ${formatBytes(clusterSize)})\n`,
      );
    });
}
