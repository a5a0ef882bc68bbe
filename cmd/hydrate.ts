import type { Command } from 'commander';
import { hydrateOverlay } from '../store/index.ts';
import { collectPaths, pathArgument } from './arguments.ts';
import { Context } from './context.ts';
import { formatBytes, formatSeconds } from './format.ts';

interface HydrateOptions {
  readonly disk?: string;
  readonly storedBase?: string;
  readonly allowBacking?: readonly string[];
}

/** `imgstore hydrate` */
export function define(command: Command): void {
  command
    .argument('<overlay>', 'a qcow2 on a version that the store knows', pathArgument)
    .option(
      '--stored-base <rev>',
      'the version that the backing file held, where the header does not say so surely',
    )
    .option('--disk <name>', 'which disk of that, of a version with several')
    .option(
      '--allow-backing <dir>',
      'also follow backing files into this folder (several times)',
      collectPaths,
    )
    .addHelpText(
      'after',
      '\nExample:\n  imgstore hydrate work.qcow2\n  imgstore hydrate work.qcow2 --stored-base web~1',
    )
    .action(async (overlay: string, options: HydrateOptions, command: Command) => {
      const context = new Context(command);
      const result = await context.withStore((store) =>
        context.monitored('hydrate', (monitor) => hydrateOverlay(store, { ...options, overlay }, monitor)),
      );
      const { file, writtenBytes, seconds } = result;
      context.result(
        result,
        () =>
          `${file}: stands on nothing now, ${formatBytes(writtenBytes)} copied in ${formatSeconds(seconds)}\n`,
      );
    });
}
