import type { Command } from 'commander';
import { rebaseOverlay } from '../store/index.ts';
import { collectPaths, pathArgument } from './arguments.ts';
import { Context } from './context.ts';
import { formatBytes, formatSeconds, shortId } from './format.ts';

interface RebaseOptions {
  readonly onto: string;
  readonly output?: string;
  readonly disk?: string;
  readonly storedBase?: string;
  readonly allowBacking?: readonly string[];
}

/** `imgstore rebase` */
export function define(command: Command): void {
  command
    .argument('<overlay>', 'a qcow2 on a backing file whose version the store knows', pathArgument)
    .requiredOption('--onto <rev>', 'the version to put it onto')
    .option(
      '-o, --output <base>',
      'the file for that version, or its folder (default: beside the overlay); one that is there must hold it',
      pathArgument,
    )
    .option('--disk <name>', "which disk, of a version with several (default: the one of the overlay's base)")
    .option('--stored-base <rev>', 'the version that the backing file held, which is gone')
    .option(
      '--allow-backing <dir>',
      'also follow backing files into this folder (several times)',
      collectPaths,
    )
    .addHelpText('after', '\nExample:\n  imgstore rebase vm1.qcow2 --onto golden')
    .action(async (overlay: string, options: RebaseOptions, command: Command) => {
      const context = new Context(command);
      const { output: base, ...rest } = options;
      const result = await context.withStore((store) =>
        context.monitored('rebase', (monitor) => rebaseOverlay(store, { ...rest, overlay, base }, monitor)),
      );
      const { file, onto, backing, writtenBytes, seconds } = result;
      context.result(
        result,
        () =>
          `${file}: on ${backing}, which holds ${shortId(onto)}, ${formatBytes(writtenBytes)} copied in ${formatSeconds(seconds)}\n`,
      );
    });
}
