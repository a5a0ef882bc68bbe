import { once } from 'node:events';
import type { Command } from 'commander';
import { ImgstoreError } from '../errors/index.ts';
import { DiskSource, findDisk, readVersion, resolveCommit } from '../store/index.ts';
import { sizeArgument } from './arguments.ts';
import { Context } from './context.ts';

/** Bytes that are read and written at a time. */
const CHUNK_BYTES = 4 * 1024 * 1024;

interface CatOptions {
  readonly disk?: string;
  readonly offset: number;
  readonly length?: number;
}

/** `imgstore cat` */
export function define(command: Command): void {
  command
    .argument('<rev>', 'the version')
    .option('--disk <name>', 'which disk, of a version with several')
    .option('--offset <size>', 'where to begin', sizeArgument, 0)
    .option('--length <size>', 'how much (default: to the end)', sizeArgument)
    .addHelpText('after', '\nExample:\n  imgstore cat web --length 512 | hexdump -C')
    .action(async (revision: string, options: CatOptions, command: Command) => {
      if (process.stdout.isTTY)
        throw new ImgstoreError('USAGE', 'cat writes the bytes of a disk: send them to a file or a pipe');
      await new Context(command).withStore(async (store) => {
        const version = readVersion(store.objects, await resolveCommit(store, revision));
        const source = new DiskSource(store.objects, findDisk(version, options.disk));
        const { offset } = options;
        const end = options.length === undefined ? source.size : offset + options.length;
        if (offset > source.size || end > source.size) {
          throw new ImgstoreError(
            'USAGE',
            `range ${offset}+${options.length ?? 0} is outside of a disk of ${source.size} bytes`,
            { offset },
          );
        }
        for (let at = offset; at < end; at += CHUNK_BYTES) {
          const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - at));
          await source.read(at, chunk);
          if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
        }
      });
    });
}
