import type { Command } from 'commander';
import { ImgstoreError } from '../errors/index.ts';
import {
  addRemote,
  listRemotes,
  probeRemote,
  type RemoteSettings,
  remoteOfUrl,
  removeRemote,
  withoutCredentials,
} from '../store/index.ts';
import { Context } from './context.ts';
import { addRemoteOptions, remoteSettings } from './remote-options.ts';
import { formatTable } from './table.ts';

interface RemoteOptions extends RemoteSettings {
  /** Undefined when neither `--probe` nor `--no-probe` is given. */
  readonly probe?: boolean;
}

/** `imgstore remote` */
export function define(command: Command): void {
  command
    .argument('[action]', 'list, add or remove (default: list)')
    .argument('[name]', 'the remote: origin is the one that is meant when a verb names none')
    .argument('[url]', 'ssh://HOST/PATH, HOST:PATH, https://…, file://…, a path, or s3://BUCKET/PREFIX')
    .option('--probe', 'go there once before it is added (default for s3://)')
    .option('--no-probe', 'do not go there');
  addRemoteOptions(command);
  command
    .addHelpText(
      'after',
      `
A git remote must be a repository in SHA-256 format: git init --bare --object-format=sha256. A store is one: over ssh
write the path of its .imgstore folder.

Example:
  imgstore remote add origin ssh://backup.example.org/srv/vms.git
  imgstore remote
  imgstore remote remove origin`,
    )
    .action(
      async (
        action = 'list',
        name: string | undefined,
        url: string | undefined,
        options: RemoteOptions,
        command: Command,
      ) => {
        const run = Object.hasOwn(ACTIONS, action) ? ACTIONS[action as keyof typeof ACTIONS] : undefined;
        if (run === undefined)
          throw new ImgstoreError('USAGE', `remote ${action}: there is list, add and remove`);
        if (action !== 'add' && Object.keys(options).length > 0)
          throw new ImgstoreError('USAGE', `remote ${action} takes no options: see 'imgstore remote --help'`);
        await run(new Context(command), name, url, options);
      },
    );
}

const ACTIONS = { list, add, remove };

async function list(context: Context, name: string | undefined): Promise<void> {
  if (name !== undefined) throw new ImgstoreError('USAGE', 'remote list takes no name');
  const remotes = await context.withStore((store) => Promise.resolve(listRemotes(store)));
  const shown = remotes.map((remote) => ({
    name: remote.name,
    url: withoutCredentials(remote.url),
    pushUrl: remote.pushUrl === undefined ? undefined : withoutCredentials(remote.pushUrl),
    fetch: remote.fetch,
    ...remoteSettings(remote),
  }));
  context.result(shown, () =>
    shown.length === 0
      ? ''
      : formatTable(
          [],
          shown.map((remote) => [remote.name!, remote.url]),
        ),
  );
}

async function add(
  context: Context,
  name: string | undefined,
  url: string | undefined,
  options: RemoteOptions,
): Promise<void> {
  if (name === undefined || url === undefined)
    throw new ImgstoreError('USAGE', 'remote add needs a name and a URL: imgstore remote add NAME URL');
  const settings = remoteSettings(options);
  const added = await context.withStore(async (store) => {
    const remote = remoteOfUrl(url, settings);
    if (options.probe ?? remote.url.startsWith('s3:'))
      await context.monitored('probe', (monitor) => probeRemote(store, remote, monitor));
    return addRemote(store, name, url, settings);
  });
  const shown = withoutCredentials(added.url);
  context.result({ name, url: shown }, () => `remote '${name}' is ${shown}\n`);
}

async function remove(context: Context, name: string | undefined, url: string | undefined): Promise<void> {
  if (name === undefined || url !== undefined)
    throw new ImgstoreError('USAGE', "remote remove takes a name: see 'imgstore remote'");
  const { refs } = await context.withStore((store) => removeRemote(store, name));
  context.result(
    { name, removed: refs },
    () => `removed remote '${name}' and ${refs.length} of its refs here\n`,
  );
}
