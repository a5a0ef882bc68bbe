import type { Command } from 'commander';
import { counted } from '../errors/index.ts';
import type { ImageFormat } from '../qcow2/index.ts';
import { type ImportedVersion, importImage } from '../store/index.ts';
import { collectPaths, pathArgument } from './arguments.ts';
import { startPackIfNeeded } from './auto-pack.ts';
import { Context } from './context.ts';
import { formatBytes, shortId } from './format.ts';
import { formatArgument } from './image-format.ts';
import { imageKey, KEY_FILE_HELP } from './image-key.ts';

interface ImportOptions {
  readonly chain?: boolean;
  readonly snapshots?: boolean;
  readonly branch?: string;
  readonly message?: string;
  readonly disk?: string;
  readonly tagPrefix?: string;
  readonly format?: ImageFormat;
  readonly allowBacking?: readonly string[];
  readonly keyFile?: string;
  readonly forceShare?: boolean;
}

/** `imgstore import` */
export function define(command: Command): void {
  command
    .argument('<image>', 'a qcow2 image', pathArgument)
    .option('--chain', 'a version of each layer of its chain of backing files, the lowest first')
    .option('--snapshots', 'a version of each internal snapshot, the oldest first, with its name as a tag')
    .option('-b, --branch <name>', "the image's name (default: the file's name without its ending)")
    .option('-m, --message <text>', 'what these versions are')
    .option('--disk <name>', "the disk's name in the versions", 'vda')
    .option('--tag-prefix <text>', 'what the names of tags begin with, such as web/')
    .option('--format <format>', 'qcow2 or raw, instead of looking', formatArgument)
    .option(
      '--allow-backing <dir>',
      'also follow backing files into this folder (several times)',
      collectPaths,
    )
    .option('--key-file <file>', KEY_FILE_HELP, pathArgument)
    .option('--force-share', 'store an image although a running QEMU writes to it')
    .addHelpText(
      'after',
      '\nWithout --chain and --snapshots: what the image has.\n\nExample:\n  imgstore import --chain web.qcow2\n  imgstore import --snapshots db.qcow2 --tag-prefix db/',
    )
    .action(async (path: string, options: ImportOptions, command: Command) => {
      const context = new Context(command);
      const versions = await context.withStore(async (store) => {
        const made = await context.monitored('import', (monitor) =>
          importImage(store, { ...options, path, key: imageKey(options.keyFile) }, monitor),
        );
        if (startPackIfNeeded(store)) context.notice('packing the store in the background');
        return made;
      });
      context.result(versions, () => versions.map(versionText).join(''));
    });
}

function versionText({
  commit,
  branch,
  tag,
  source,
  readBytes,
  newClusters,
  unchanged,
}: ImportedVersion): string {
  const file = source.file.slice(source.file.lastIndexOf('/') + 1);
  const from = source.snapshot === undefined ? file : `${file} as ${tag}`;
  const cost = `${counted(newClusters, 'new cluster')}, ${formatBytes(readBytes)} read`;
  return `[${branch} ${shortId(commit)}] ${from}: ${unchanged ? `known, ${formatBytes(readBytes)} read` : cost}\n`;
}
