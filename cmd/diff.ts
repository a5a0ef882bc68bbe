import type { Command } from 'commander';
import { diffVersions, type RangeChange, resolveCommit } from '../store/index.ts';
import { Context } from './context.ts';
import { ExitCode } from './exit-code.ts';
import { formatBytes } from './format.ts';

/** `imgstore diff` */
export function define(command: Command): void {
  command
    .argument('<a>', 'the older version')
    .argument('<b>', 'the newer version')
    .option('--exit-code', 'exit with 1 when they differ')
    .addHelpText('after', '\nExample:\n  imgstore diff web~1 web')
    .action(async (a: string, b: string, options: { exitCode?: boolean }, command: Command) => {
      const context = new Context(command);
      await context.withStore(async (store) => {
        const changes: RangeChange[] = [];
        for await (const change of diffVersions(
          store,
          await resolveCommit(store, a),
          await resolveCommit(store, b),
        ))
          changes.push(change);
        context.result(changes, () => diffText(changes));
        if (options.exitCode && changes.length > 0) process.exitCode = ExitCode.failed;
      });
    });
}

function diffText(changes: readonly RangeChange[]): string {
  const lines = changes.map(({ disk, offset, length, kind }) => `${disk} ${offset} ${length} ${kind}\n`);
  const sum = (kind: RangeChange['kind']) =>
    changes.reduce((bytes, change) => bytes + (change.kind === kind ? change.length : 0), 0);
  const total = `${formatBytes(sum('changed'))} changed, ${formatBytes(sum('added'))} added, ${formatBytes(sum('removed'))} removed\n`;
  return changes.length === 0 ? '' : lines.join('') + total;
}
