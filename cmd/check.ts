import type { Command } from 'commander';
import { counted, isImgstoreError } from '../errors/index.ts';
import { type CheckReport, checkImage, type ImageFormat, type Verdict } from '../qcow2/index.ts';
import { pathArgument } from './arguments.ts';
import { Context } from './context.ts';
import { formatRatio } from './format.ts';
import { formatArgument } from './image-format.ts';
import { reportError } from './report-error.ts';

/** The exit codes of `qemu-img check`, so that scripts can use either. */
const EXIT_CODES: Readonly<Record<Verdict, number>> = { clean: 0, failed: 1, corrupt: 2, leaks: 3 };
const EXIT_NO_CHECK = 63;

/** `imgstore check` */
export function define(command: Command): void {
  command
    .argument('<image>', 'the file', pathArgument)
    .option('--format <format>', 'qcow2 or raw, instead of looking', formatArgument)
    .addHelpText(
      'after',
      '\nExample:\n  imgstore check web.qcow2 && echo "nothing is wrong"\n\nNothing is changed, and backing files are not looked at.\n\nExit codes, those of qemu-img check: 0 clean, 1 the check could not be done, 2 corrupt,\n3 leaks only, 63 the format has no check (raw)',
    )
    .action(async (image: string, options: { format?: ImageFormat }, command: Command) => {
      const context = new Context(command);
      let report: CheckReport;
      try {
        report = await checkImage(image, options);
      } catch (error) {
        if (!isImgstoreError(error, 'UNSUPPORTED') || error.data.format !== 'raw') throw error;
        reportError(error, { json: context.json, verbose: false });
        process.exitCode = EXIT_NO_CHECK;
        return;
      }
      context.result(report, () => checkText(report));
      process.exitCode = EXIT_CODES[report.verdict];
    });
}

function checkText(report: CheckReport): string {
  const { totalClusters, allocatedClusters, fragmentedClusters, compressedClusters } = report;
  const lines = report.findings.map(({ kind, message }) => `${kind}: ${message}`);
  if (report.omittedFindings > 0) lines.push(`and ${report.omittedFindings} more`);
  lines.push(
    summary(report),
    `${allocatedClusters} of ${counted(totalClusters, 'cluster')} allocated (${formatRatio(allocatedClusters, totalClusters)}), ` +
      `${fragmentedClusters} fragmented (${formatRatio(fragmentedClusters, allocatedClusters)}), ` +
      `${compressedClusters} compressed (${formatRatio(compressedClusters, allocatedClusters)})`,
    `image end offset: ${report.imageEndOffset}`,
  );
  return `${lines.join('\n')}\n`;
}

function summary({ verdict, corruptions, leaks, checkErrors }: CheckReport): string {
  switch (verdict) {
    case 'clean':
      return 'clean: nothing is wrong with the image';
    case 'leaks':
      return `leaks: ${counted(leaks, 'cluster is', 'clusters are')} lost room; data is safe`;
    case 'corrupt':
      return `corrupt: ${counted(corruptions, 'contradiction')}, ${counted(leaks, 'leaked cluster')}: copy what can be read with qemu-img convert before anything writes to it`;
    case 'failed':
      return `the check could not be done: ${counted(checkErrors, 'error')}, besides ${counted(corruptions, 'corruption')} and ${counted(leaks, 'leaked cluster')}`;
  }
}
