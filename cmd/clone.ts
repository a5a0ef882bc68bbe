import type { Command } from 'commander';
import { counted } from '../errors/index.ts';
import { cloneStore, nameTask, type RemoteSettings } from '../store/index.ts';
import { collect, pathArgument } from './arguments.ts';
import { Context } from './context.ts';
import { receivedText } from './fetch.ts';
import { changesJson, refText, reportRejected } from './ref-changes.ts';
import { addRemoteOptions, remoteSettings } from './remote-options.ts';

interface CloneOptions extends RemoteSettings {
  readonly branch?: readonly string[];
  readonly lazy?: boolean;
}

/** A URL with a slip of the pen leads to such a place in a bucket, too. */
const NOTHING_THERE = 'nothing was pushed there yet: see whether the URL is right\n';

/** `imgstore clone` */
export function define(command: Command): void {
  command
    .argument('<url>', 'ssh://HOST/PATH, HOST:PATH, https://…, file://…, a path, or s3://BUCKET/PREFIX')
    .argument('<dir>', 'folder that gets the store', pathArgument)
    .option(
      '-b, --branch <name>',
      'only this branch, now and in later fetches (may be given several times)',
      collect,
    );
  command.option(
    '--lazy',
    'for s3://: leave clusters there until they are read, and keep what was read up to imgstore.cacheSize (10G)',
  );
  addRemoteOptions(command);
  command
    .addHelpText(
      'after',
      `
The new store has the remote as 'origin', and a branch for each of its branches: an image is a branch, and as nothing is checked out,
there is no one branch to be on.

Example:
  imgstore clone ssh://backup.example.org/srv/vms.git /var/lib/vms
  imgstore clone /srv/vms /var/lib/vms --branch web
  imgstore clone --lazy s3://vms/fleet /var/lib/vms`,
    )
    .action(async (url: string, folder: string, options: CloneOptions, command: Command) => {
      const context = new Context(command);
      nameTask('imgstore clone');
      const request = {
        url,
        folder,
        branches: options.branch ?? [],
        settings: remoteSettings(options),
        lazy: options.lazy ?? false,
      };
      const result = await context.monitored('clone', (monitor) => cloneStore(request, monitor));
      const { store, branches, rejected, objects, receivedBytes, seconds } = result;
      const json = {
        ...result,
        branches: branches.map(({ ref }) => refText(ref)),
        rejected: changesJson(rejected),
      };
      context.result(
        json,
        () =>
          `made a store in ${store} with ${counted(branches.length, 'branch', 'branches')}\n${receivedText(objects, receivedBytes, seconds)}${branches.length + rejected.length === 0 ? NOTHING_THERE : ''}`,
      );
      reportRejected('clone', rejected);
    });
}
