import type { Command } from 'commander';
import { counted } from '../errors/index.ts';
import { collectGarbage, collectRemote, type HeldBack } from '../store/index.ts';
import { Context } from './context.ts';
import { formatBytes, formatSeconds } from './format.ts';

interface GcOptions {
  readonly prune?: string;
  readonly remote?: string | true;
}

/** `imgstore gc` */
export function define(command: Command): void {
  command
    .option(
      '--prune <when>',
      'remove what nothing leads to and was not used since: now, never, an age like 2w, or a date (default: 2 weeks)',
    )
    .option(
      '--remote [name]',
      'of an s3:// remote instead of the store: write packs anew of which little is needed, join small ones, and remove what was dropped before --prune',
    )
    .addHelpText(
      'after',
      '\nExample:\n  imgstore gc              # what was not used for two weeks\n  imgstore gc --prune=now  # all that no branch, tag or log of a ref leads to\n  imgstore gc --remote origin',
    )
    .action(async (options: GcOptions, command: Command) => {
      const context = new Context(command);
      if (options.remote !== undefined) return collectOf(context, options.remote, options.prune);
      const result = await context.withStore((store) =>
        context.monitored('gc', (monitor) => collectGarbage(store, options, monitor)),
      );
      context.result(result, () => {
        const { removed, unreachable, storedBytesBefore, storedBytesAfter, seconds, heldBack } = result;
        const waiting =
          unreachable === 0
            ? ''
            : `, ${counted(unreachable, 'that nothing leads to stays', 'that nothing leads to stay')} for now`;
        return `removed ${counted(removed, 'object')}${waiting}: ${formatBytes(storedBytesBefore)} -> ${formatBytes(storedBytesAfter)} (${formatSeconds(seconds)})\n${unreachable > 0 && heldBack !== undefined ? describeWork(heldBack) : ''}`;
      });
    });
}

async function collectOf(context: Context, remote: string | true, prune: string | undefined): Promise<void> {
  const name = remote === true ? undefined : remote;
  const result = await context.withStore((store) =>
    context.monitored('gc', (monitor) => collectRemote(store, name, prune, monitor)),
  );
  context.result(result, () => {
    const { packsBefore, packsAfter, bytesBefore, bytesAfter, removed, waiting } = result;
    const later = waiting === 0 ? '' : `, ${counted(waiting, 'dropped pack goes', 'dropped packs go')} later`;
    return `${packsBefore} -> ${counted(packsAfter, 'pack')}, ${formatBytes(bytesBefore)} -> ${formatBytes(bytesAfter)}, ${counted(removed, 'object')} removed${later}\n`;
  });
}

function describeWork({ path, pid, host, since }: HeldBack): string {
  const who = pid === undefined ? 'a process' : `process ${pid} on ${host}`;
  return `what was used since ${since} stays: ${who} is storing something: if it is not running, remove ${path}\n`;
}
