import type { Command } from 'commander';
import { describeImage, type ImageFacts, type ImageFormat } from '../qcow2/index.ts';
import { Context } from './context.ts';
import { formatBytes } from './format.ts';
import { formatArgument } from './image-format.ts';

/** `imgstore info` */
export function define(command: Command): void {
  command
    .argument('<image>', 'the file')
    .option('--format <format>', 'qcow2 or raw, instead of looking', formatArgument)
    .addHelpText('after', '\nExample:\n  imgstore info web.qcow2')
    .action(async (image: string, options: { format?: ImageFormat }, command: Command) => {
      const facts = await describeImage(image, options);
      new Context(command).result(facts, () => infoText(facts));
    });
}

function infoText({ path, format, virtualSize, fileSize, allocatedBytes, qcow2 }: ImageFacts): string {
  const lines: [string, string | undefined][] = [
    ['image', path],
    ['format', format],
    ['virtual size', `${formatBytes(virtualSize)} (${virtualSize} bytes)`],
    ['file size', formatBytes(fileSize)],
    ['on disk', formatBytes(allocatedBytes)],
  ];
  if (qcow2 !== undefined) {
    const flags = (['extendedL2', 'lazyRefcounts', 'dirty', 'corrupt'] as const).filter(
      (flag) => qcow2[flag],
    );
    lines.push(
      ['qcow2 version', `${qcow2.version} (compat ${qcow2.compat})`],
      ['cluster size', formatBytes(qcow2.clusterSize)],
      ['compression', qcow2.compressionType],
      ['refcount bits', String(qcow2.refcountBits)],
      [
        'backing file',
        qcow2.backingFile === undefined
          ? undefined
          : `${qcow2.backingFile} (${qcow2.backingFormat ?? 'format not named'})`,
      ],
      ['data file', qcow2.dataFile?.name],
      ['encrypted', qcow2.encrypted],
      ['snapshots', qcow2.snapshots === 0 ? undefined : String(qcow2.snapshots)],
      ['bitmaps', qcow2.bitmaps === 0 ? undefined : String(qcow2.bitmaps)],
      ['flags', flags.length === 0 ? undefined : flags.join(', ')],
    );
  }
  return lines
    .flatMap(([name, value]) => (value === undefined ? [] : `${`${name}:`.padEnd(15)}${value}\n`))
    .join('');
}
