import type { Command } from 'commander';
import { compare, type DiskFormat } from '../store/index.ts';
import { collectPaths, pathArgument } from './arguments.ts';
import { Context } from './context.ts';
import { ExitCode } from './exit-code.ts';
import { DISK_FORMAT_HELP, diskFormatArgument } from './image-format.ts';
import { imageKey, KEY_FILE_HELP } from './image-key.ts';

interface CompareOptions {
  readonly disk?: string;
  readonly storedBase?: string;
  readonly format?: DiskFormat;
  readonly allowBacking?: readonly string[];
  readonly forceShare?: boolean;
  readonly keyFile?: string;
}

/** `imgstore compare` */
export function define(command: Command): void {
  command
    .argument('<a>', 'a version')
    .argument('<b>', 'a version, else an image file (with --format always) or an NBD URI', pathArgument)
    .option('--disk <name>', 'which disk, of a version with several')
    .option('--stored-base <rev>', "the version that an overlay's backing file held, which is gone")
    .option('--format <format>', DISK_FORMAT_HELP, diskFormatArgument)
    .option(
      '--allow-backing <dir>',
      'also follow backing files into this folder (several times)',
      collectPaths,
    )
    .option('--key-file <file>', KEY_FILE_HELP, pathArgument)
    .option('--force-share', 'read an image although a running QEMU writes to it')
    .addHelpText(
      'after',
      '\nExample:\n  imgstore compare web web.qcow2 && echo "nothing has changed"\n\nExit codes: 0 the same, 1 different, 2 or more trouble',
    )
    .action(async (revision: string, other: string, options: CompareOptions, command: Command) => {
      const context = new Context(command);
      const result = await context.withStore(async (store) => {
        return context.monitored('compare', (monitor) =>
          compare(store, { ...options, revision, other, key: imageKey(options.keyFile) }, monitor),
        );
      });
      const { identical, disk, offset, reason } = result;
      context.result({ identical, disk: disk ?? null, offset: offset ?? null, reason: reason ?? null }, () =>
        identical ? 'identical\n' : `different: ${disk === undefined ? '' : `${disk}: `}${reason}\n`,
      );
      if (!identical) process.exitCode = ExitCode.failed;
    });
}
