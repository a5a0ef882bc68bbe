import { once } from 'node:events';
import type { Command } from 'commander';
import { type BlockSource, MemorySource } from '../block/index.ts';
import { ImgstoreError } from '../errors/index.ts';
import { DiskSource, findDisk, readAttachment, readVersion, resolveCommit } from '../store/index.ts';
import { sizeArgument } from './arguments.ts';
import { Context } from './context.ts';

/** Bytes that are read and written at a time. */
const CHUNK_BYTES = 4 * 1024 * 1024;

interface CatOptions {
  readonly disk?: string;
  readonly file?: string;
  readonly offset: number;
  readonly length?: number;
}

/** `imgstore cat` */
export function define(command: Command): void {
  command
    .argument('<rev>', 'the version')
    .option('--disk <name>', 'which disk, of a version with several')
    .option('--file <name>', 'a file that is attached to the version, instead of a disk')
    .option('--offset <size>', 'where to begin', sizeArgument, 0)
    .option('--length <size>', 'how much (default: to the end)', sizeArgument)
    .addHelpText(
      'after',
      '\nExample:\n  imgstore cat web --length 512 | hexdump -C\n  imgstore cat web --file domain.xml | virsh define /dev/stdin',
    )
    .action(async (revision: string, options: CatOptions, command: Command) => {
      const { disk, file, offset, length } = options;
      if (disk !== undefined && file !== undefined)
        throw new ImgstoreError('USAGE', 'cat takes --disk or --file');
      if (file === undefined && process.stdout.isTTY)
        throw new ImgstoreError('USAGE', 'cat writes the bytes of a disk: send them to a file or a pipe');
      await new Context(command).withStore(async (store) => {
        const version = readVersion(store.objects, await resolveCommit(store, revision));
        const source =
          file === undefined
            ? new DiskSource(store.objects, findDisk(version, disk))
            : new MemorySource(await readAttachment(store.objects, version, file));
        const reading = store.announceReading([version.id]);
        try {
          await writeRange(source, offset, length ?? source.size - offset);
        } finally {
          reading?.withdraw();
        }
      });
    });
}

async function writeRange(source: BlockSource, offset: number, length: number): Promise<void> {
  if (length < 0 || offset > source.size - length) {
    const range = `range ${offset}+${Math.max(0, length)}`;
    throw new ImgstoreError('USAGE', `${range} is outside of a disk of ${source.size} bytes`, { offset });
  }
  for (let at = offset; at < offset + length; at += CHUNK_BYTES) {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, offset + length - at));
    await source.read(at, chunk);
    if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
  }
}
