import type { Command } from 'commander';
import { pullBranches } from '../store/index.ts';
import { startPackIfNeeded } from './auto-pack.ts';
import { Context } from './context.ts';
import { receivedText } from './fetch.ts';
import { changesJson, changesText, reportRejected } from './ref-changes.ts';

/** `imgstore pull` */
export function define(command: Command): void {
  command
    .argument('[remote]', 'the remote (default: origin, or the only one)')
    .argument('[branches...]', 'branches (default: all that are fetched)')
    .addHelpText(
      'after',
      `
A branch here becomes what the remote's branch of its name is, when that only adds versions to it; a new one is made. One that has versions of
its own is left, and the exit code is 1: disks are not merged.

Example:
  imgstore pull
  imgstore pull origin web`,
    )
    .action(async (remote: string | undefined, branches: string[], _options: object, command: Command) => {
      const context = new Context(command);
      const result = await context.withStore(async (store) => {
        const pulled = await context.monitored('pull', (monitor) =>
          pullBranches(store, { remote, branches }, monitor),
        );
        if (startPackIfNeeded(store)) context.notice('packing the store in the background');
        return pulled;
      });
      const { updates, objects, receivedBytes, seconds } = result;
      const json = { ...result, updates: changesJson(updates), branches: changesJson(result.branches) };
      context.result(json, () => {
        const text = changesText(result.branches);
        return objects === 0 && text === ''
          ? 'nothing new\n'
          : `${text}${receivedText(objects, receivedBytes, seconds)}`;
      });
      reportRejected('pull', [...updates, ...result.branches]);
    });
}
