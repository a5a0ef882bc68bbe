import type { Command } from 'commander';
import { listRemoteRefs } from '../store/index.ts';
import { Context } from './context.ts';
import { shortId } from './format.ts';
import { formatTable } from './table.ts';

/** `imgstore ls-remote` */
export function define(command: Command): void {
  command
    .argument('[remote]', 'name of a remote, or a URL (default: origin, or the only remote)')
    .addHelpText('after', '\nExample:\n  imgstore ls-remote origin')
    .action(async (asked: string | undefined, _options: object, command: Command) => {
      const context = new Context(command);
      const listed = await context.withStore((store) =>
        context.monitored('ls-remote', (monitor) => listRemoteRefs(store, asked, monitor)),
      );
      const { url, head, refs } = listed;
      const json = {
        url,
        head,
        refs: refs.map(({ name, id, peeled }) => ({
          ref: name,
          id,
          ...(peeled === undefined ? {} : { peeled }),
        })),
      };
      context.result(json, () => {
        const rows = refs.map(({ name, id }) => [
          shortId(id),
          name.replace(/^refs\/(?:heads\/)?/, ''),
          name === head ? '(HEAD)' : '',
        ]);
        return rows.length === 0 ? '' : formatTable([], rows);
      });
    });
}
