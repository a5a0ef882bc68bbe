import type { Command } from 'commander';
import { counted, ImgstoreError } from '../errors/index.ts';
import { type ForgetResult, forgetVersions, type KeepPolicy, type MovedRef } from '../store/index.ts';
import { collect, countArgument } from './arguments.ts';
import { Context } from './context.ts';
import { shortId } from './format.ts';
import { formatTable } from './table.ts';

interface ForgetOptions {
  readonly keepLast?: number;
  readonly keepDaily?: number;
  readonly keepWeekly?: number;
  readonly keepMonthly?: number;
  readonly keepTag?: readonly string[];
  readonly dryRun?: boolean;
  readonly pushed?: boolean;
}

/** `imgstore forget` */
export function define(command: Command): void {
  command
    .argument('[rev...]', 'the versions; with a --keep option the branches to thin (default: all)')
    .option('--keep-last <n>', 'keep the newest versions of each branch, this many', countArgument)
    .option('--keep-daily <n>', 'keep the newest of each of the last n days that have one', countArgument)
    .option('--keep-weekly <n>', 'keep the newest of each of the last n weeks that have one', countArgument)
    .option('--keep-monthly <n>', 'keep the newest of each of the last n months that have one', countArgument)
    .option(
      '--keep-tag <pattern>',
      'keep versions with a tag like this, which may have * and ?; without it, all that have a tag',
      collect,
    )
    .option(
      '--pushed',
      "also versions that a remote has: 'push --force-with-lease' then has it forget them too",
    )
    .option('-n, --dry-run', 'say what would be forgotten, and do nothing')
    .addHelpText(
      'after',
      '\nExample:\n  imgstore forget web --keep-last 5 --keep-weekly 8 --dry-run\n  imgstore forget web~3\n\n' +
        'The last version of a branch is always kept. Later versions get new ids; the old ones still lead to them.\n' +
        "'imgstore gc' frees the room, two weeks later or with --prune=now.",
    )
    .action(async (revisions: readonly string[], options: ForgetOptions, command: Command) => {
      const context = new Context(command);
      const policy = policyOf(options);
      if (policy === undefined && revisions.length === 0)
        throw new ImgstoreError(
          'USAGE',
          'forget: name versions, or say what to keep: see imgstore forget --help',
        );
      const { dryRun, pushed } = options;
      const result = await context.withStore((store) =>
        forgetVersions(store, { revisions, policy, dryRun, pushed }),
      );
      context.result(result, () => describe(result) + describeRemotes(result, pushed));
    });
}

/** Undefined when nothing is said of what to keep. */
function policyOf(options: ForgetOptions): KeepPolicy | undefined {
  const {
    keepLast: last,
    keepDaily: daily,
    keepWeekly: weekly,
    keepMonthly: monthly,
    keepTag: tags,
  } = options;
  const rules = [last, daily, weekly, monthly, tags];
  return rules.every((rule) => rule === undefined) ? undefined : { last, daily, weekly, monthly, tags };
}

function describe({ forgotten, kept, refs, dryRun }: ForgetResult): string {
  if (forgotten.length === 0)
    return `nothing to forget: ${counted(kept, 'version is', 'versions are')} kept\n`;
  const rows = forgotten.map(({ commit, date, message }) => [shortId(commit), date, message]);
  const done = `${dryRun ? 'would forget' : 'forgot'} ${counted(forgotten.length, 'version')}, ${counted(kept, 'is', 'are')} kept\n`;
  const moves = refs.map((ref) => describeMove(ref, dryRun)).join('');
  return formatTable(['version', 'date', 'message'], rows) + moves + done;
}

/** What remotes have to do with what was forgotten and what was not. */
function describeRemotes({ remotes, forgotten }: ForgetResult, pushed = false): string {
  const names = remotes.join(', ');
  if (remotes.length === 0 || (pushed && forgotten.length === 0)) return '';
  return pushed
    ? `${names} still lead to them, so gc keeps them: run 'imgstore push --force-with-lease' first\n`
    : `what ${names} lead to is kept: --pushed forgets it too\n`;
}

function describeMove({ kind, name, before, after, removed }: MovedRef, dryRun: boolean): string {
  const does = dryRun ? 'would be' : 'is';
  const what = removed
    ? `${does} removed`
    : after === undefined
      ? 'would get a new id'
      : `is at ${shortId(after)}`;
  return `${kind} '${name}' ${what} (${dryRun ? 'now' : 'was'} ${shortId(before)})\n`;
}
