import { type Command, Option } from 'commander';
import { counted, ImgstoreError } from '../errors/index.ts';
import { type PushResult, pushRefs } from '../store/index.ts';
import { collect } from './arguments.ts';
import { Context } from './context.ts';
import { formatBytes, formatSeconds } from './format.ts';
import { changesJson, changesText, reportRejected } from './ref-changes.ts';

interface PushOptions {
  readonly force?: boolean;
  readonly forceWithLease?: readonly string[];
  readonly tags?: boolean;
  readonly all?: boolean;
  readonly delete?: boolean;
}

/** `imgstore push` */
export function define(command: Command): void {
  command
    .argument('[remote]', 'the remote (default: origin, or the only one)')
    .argument(
      '[refs...]',
      'branches and tags, SRC:DST, +SRC:DST to force, :DST to remove (default: all branches)',
    )
    .option('-f, --force', 'move refs also where that takes versions away from them')
    .addOption(
      new Option(
        '--force-with-lease [ref[:id]]',
        'the same, if the ref is on the remote where it was when it was fetched last, or where this says',
      )
        .preset('')
        .argParser((text: string, before: readonly string[] | undefined) => collect(text, before)),
    )
    .option('--tags', 'all tags')
    .option('--all', 'all branches, besides what is named')
    .option('-d, --delete', 'remove the refs that are named')
    .addHelpText(
      'after',
      `
Every image is a branch, so without REF all of them go. A branch of the remote that has versions which are not in the history of the one
here is left, and the exit code is 1.

Example:
  imgstore push
  imgstore push origin web v1
  imgstore push origin web:nightly/web --force-with-lease`,
    )
    .action(async (remote: string | undefined, refs: string[], options: PushOptions, command: Command) => {
      const context = new Context(command);
      if (options.delete && (refs.length === 0 || options.tags || options.all))
        throw new ImgstoreError(
          'USAGE',
          'push --delete removes refs that are named: imgstore push NAME --delete REF',
        );
      refuseLooseLeases(command, options);
      const request = {
        remote,
        refs,
        force: options.force,
        leases: options.forceWithLease,
        allTags: options.tags,
        allBranches: options.all,
        remove: options.delete,
      };
      const result = await context.withStore((store) =>
        context.monitored('push', (monitor) => pushRefs(store, request, monitor)),
      );
      context.result(pushJson(result), () => pushText(result));
      reportRejected('push', result.updates);
    });
}

/** As in git, a value stands behind `=`: in `push origin --force-with-lease web` nobody means the lease of one branch and a push of all. */
function refuseLooseLeases(command: Command, { forceWithLease = [] }: PushOptions): void {
  const written =
    (command.parent as (Command & { readonly rawArgs?: readonly string[] }) | null)?.rawArgs ?? [];
  const loose = forceWithLease.find((text) => text !== '' && !written.includes(`--force-with-lease=${text}`));
  if (loose !== undefined)
    throw new ImgstoreError(
      'USAGE',
      `push --force-with-lease ${loose}: write --force-with-lease=${loose}, or the option behind all names`,
    );
}

/** What a push has done, for programs. */
export function pushJson(result: PushResult) {
  return { ...result, updates: changesJson(result.updates) };
}

/** What a push has done, for people. */
export function pushText({ updates, objects, sentBytes, seconds }: PushResult): string {
  const text = changesText(updates);
  if (text !== '')
    return `${text}${counted(objects, 'object')}, ${formatBytes(sentBytes)} sent in ${formatSeconds(seconds)}\n`;
  if (updates.length === 0) return 'nothing to push: there is no such branch or tag here yet\n';
  return updates.some(({ kind }) => kind === 'rejected') ? '' : 'everything is there already\n';
}
