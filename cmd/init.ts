import type { Command } from 'commander';
import { initStore } from '../store/index.ts';
import { pathArgument, sizeArgument } from './arguments.ts';
import { Context } from './context.ts';
import { formatBytes } from './format.ts';

interface InitOptions {
  readonly clusterSize?: number;
  /** True without a value. */
  readonly shared?: string | true;
}

/** `imgstore init` */
export function define(command: Command): void {
  command
    .argument('[dir]', 'folder that gets the store', pathArgument, '.')
    .option('--cluster-size <size>', 'size of a cluster, 4K to 2M (default: 64K)', sizeArgument)
    .option(
      '--shared [who]',
      'who else may use the store, as git init has it: false, group (when no one is named), all, or a mode as 0660',
    )
    .addHelpText('after', '\nExample:\n  imgstore init /var/lib/vms --cluster-size 64K')
    .action(async (dir: string, options: InitOptions, command: Command) => {
      const context = new Context(command);
      const { clusterSize: asked, shared } = options;
      const store = await initStore(dir, { clusterSize: asked, shared: shared === true ? 'group' : shared });
      store.close();
      const { folder, clusterSize } = store;
      context.result(
        { store: folder, clusterSize },
        () => `made a store in ${folder} (clusters of ${formatBytes(clusterSize)})\n`,
      );
    });
}
