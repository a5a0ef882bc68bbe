import type { Command } from 'commander';
import { mountVersion } from '../store/index.ts';
import { pathArgument } from './arguments.ts';
import { Context } from './context.ts';
import { formatBytes } from './format.ts';
import { thisProgram } from './this-program.ts';

interface MountOptions {
  readonly disk?: string;
  readonly socket?: string;
  readonly serve: boolean;
}

/** `imgstore mount` */
export function define(command: Command): void {
  command
    .argument('<rev>', 'the version')
    .argument('<folder>', 'where the disk is to be, as the file nbd', pathArgument)
    .option('--disk <name>', 'which disk, of a version with several')
    .option(
      '--socket <path>',
      "where the server listens (default: the store's imgstore/nbd.sock)",
      pathArgument,
    )
    .option('--no-serve', 'start no server when none listens there')
    .addHelpText(
      'after',
      '\nIt goes on until it is interrupted or the folder is unmounted.\n\nExample:\n  imgstore mount web~1 /mnt/web &\n  fusermount3 -u /mnt/web',
    )
    .action(async (revision: string, folder: string, options: MountOptions, command: Command) => {
      const context = new Context(command);
      const { disk, socket } = options;
      const program = options.serve ? thisProgram() : undefined;
      await context.withStore((store) =>
        context.monitored('mount', async (monitor) => {
          const request = { revision, folder, disk, socket, command: program };
          const { file, virtualSize, ended } = await mountVersion(store, request, monitor);
          context.result(
            { file, virtualSize },
            () => `${file}: ${formatBytes(virtualSize)}, until ${folder} is unmounted\n`,
          );
          await ended;
        }),
      );
    });
}
