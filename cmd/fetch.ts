import type { Command } from 'commander';
import { counted } from '../errors/index.ts';
import { fetchRemote } from '../store/index.ts';
import { startPackIfNeeded } from './auto-pack.ts';
import { Context } from './context.ts';
import { formatBytes, formatSeconds } from './format.ts';
import { changesJson, changesText, reportRejected } from './ref-changes.ts';

interface FetchOptions {
  readonly prune?: boolean;
  /** Undefined when neither `--tags` nor `--no-tags` is given. */
  readonly tags?: boolean;
}

/** `imgstore fetch` */
export function define(command: Command): void {
  command
    .argument('[remote]', 'the remote (default: origin, or the only one)')
    .argument('[refspecs...]', 'branches and tags, or SRC:DST (default: what the config says, all branches)')
    .option('--prune', 'remove refs here that follow branches which the remote has no more')
    .option('--no-prune', 'keep them, whatever the config says')
    .option('--tags', 'all tags (default: those of versions that are here then)')
    .option('--no-tags', 'no tags')
    .addHelpText(
      'after',
      `
The remote's branches become refs/remotes/NAME/…, so 'origin/web' is a revision: checkout, diff and log take it. Branches of
the store do not move: 'imgstore pull' moves them.

Example:
  imgstore fetch
  imgstore fetch origin web --no-tags`,
    )
    .action(
      async (remote: string | undefined, refspecs: string[], options: FetchOptions, command: Command) => {
        const context = new Context(command);
        const tags = options.tags === undefined ? undefined : options.tags ? 'all' : 'none';
        const result = await context.withStore(async (store) => {
          const request = { remote, refspecs, prune: options.prune, tags } as const;
          const fetched = await context.monitored('fetch', (monitor) => fetchRemote(store, request, monitor));
          if (startPackIfNeeded(store)) context.notice('packing the store in the background');
          return fetched;
        });
        const { updates, objects, receivedBytes, seconds } = result;
        context.result({ ...result, updates: changesJson(updates) }, () =>
          objects === 0 && changesText(updates) === ''
            ? 'nothing new\n'
            : `${changesText(updates)}${receivedText(objects, receivedBytes, seconds)}`,
        );
        reportRejected('fetch', updates);
      },
    );
}

/** What came, in one line. */
export function receivedText(objects: number, bytes: number, seconds: number): string {
  return `${counted(objects, 'object')}, ${formatBytes(bytes)} received in ${formatSeconds(seconds)}\n`;
}
