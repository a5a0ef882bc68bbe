import type { Command } from 'commander';
import { counted, ImgstoreError } from '../errors/index.ts';
import {
  commitSessionOf,
  discardSession,
  type ListedSessions,
  listSessions,
  type SessionCommit,
  type SessionsPlace,
} from '../store/index.ts';
import { pathArgument } from './arguments.ts';
import { startPackIfNeeded } from './auto-pack.ts';
import { Context } from './context.ts';
import { formatBytes, formatSeconds, shortId } from './format.ts';
import { formatTable } from './table.ts';

interface SessionOptions extends SessionsPlace {
  readonly branch?: string;
  readonly message?: string;
  readonly force?: boolean;
}

/** `imgstore session` */
export function define(command: Command): void {
  command
    .argument('[action]', 'list, commit or discard (default: list)')
    .argument('[name]', 'the session: a branch, or BRANCH:DISK')
    .option('-b, --branch <name>', "commit to this branch (default: the session's)")
    .option('-m, --message <text>', 'what the version is')
    .option('-f, --force', 'discard although clients are connected')
    .option(
      '--socket <path>',
      'the socket that the server listens on (default: imgstore/nbd.sock in the store)',
      pathArgument,
    )
    .option(
      '--overlays <dir>',
      'the folder of overlays, when no server runs (default: imgstore/sessions in the store)',
      pathArgument,
    )
    .addHelpText(
      'after',
      `
Sessions are begun by 'imgstore serve --writable', one for each branch that a client opens.

Example:
  imgstore session
  imgstore session commit web -m 'Before the upgrade'
  imgstore session discard web`,
    )
    .action(async (action = 'list', name: string | undefined, options: SessionOptions, command: Command) => {
      const run = ACTIONS[action as keyof typeof ACTIONS];
      if (run === undefined || !Object.hasOwn(ACTIONS, action))
        throw new ImgstoreError('USAGE', `session ${action}: there is list, commit and discard`);
      refuseOptions(action, name, options);
      await run(new Context(command), options, name!);
    });
}

const ACTIONS = { list, commit, discard };

function refuseOptions(action: string, name: string | undefined, options: SessionOptions): void {
  if (action === 'list' ? name !== undefined : name === undefined || name === '') {
    const takes = action === 'list' ? 'takes no name' : 'needs the name of a session';
    throw new ImgstoreError('USAGE', `session ${action} ${takes}: see 'imgstore session'`);
  }
  const belong: Readonly<Record<string, string>> = { branch: 'commit', message: 'commit', force: 'discard' };
  for (const [option, of] of Object.entries(belong)) {
    if (of !== action && options[option as keyof SessionOptions] !== undefined)
      throw new ImgstoreError('USAGE', `session ${action} has no --${option}: it is for session ${of}`);
  }
}

async function list(context: Context, place: SessionOptions): Promise<void> {
  const listed = await context.withStore((store) =>
    context.monitored('session', (monitor) => listSessions(store, place, monitor)),
  );
  context.result(listed, () => listText(listed));
}

async function commit(context: Context, options: SessionOptions, name: string): Promise<void> {
  const { branch, message } = options;
  const made = await context.withStore(async (store) => {
    const result = await context.monitored('session', (monitor) =>
      commitSessionOf(store, options, { name, branch, message }, monitor),
    );
    if (startPackIfNeeded(store)) context.notice('packing the store in the background');
    return result;
  });
  context.result(made, () => commitText(made));
}

async function discard(context: Context, options: SessionOptions, name: string): Promise<void> {
  const { force } = options;
  await context.withStore((store) =>
    context.monitored('session', (monitor) => discardSession(store, options, { name, force }, monitor)),
  );
  context.result({ session: name, discarded: true }, () => `${name}: discarded\n`);
}

/** Columns of numbers. */
const NUMBERS = [3, 4, 5];

function listText({ server, sessions }: ListedSessions): string {
  const rows = sessions.map(({ name, base, last, changedBytes, overlayBytes, connections }) => [
    name,
    shortId(base),
    shortId(last),
    changedBytes === undefined ? '-' : formatBytes(changedBytes),
    formatBytes(overlayBytes),
    connections === undefined ? '-' : `${connections}`,
  ]);
  const head = ['SESSION', 'BASE', 'LAST', 'CHANGED', 'OVERLAY', 'CLIENTS'];
  const note = server === undefined && sessions.length > 0 ? 'no server runs\n' : '';
  return sessions.length === 0 ? '' : `${formatTable(head, rows, NUMBERS)}${note}`;
}

function commitText(made: SessionCommit): string {
  const { branch, commit: id, unchanged, newClusters, readBytes, newObjects, storedBytes, seconds } = made;
  if (unchanged) return `${branch}: unchanged, still ${shortId(id)}\n`;
  const read = `  ${counted(newClusters, 'new cluster')}, ${formatBytes(readBytes)} read\n`;
  const cost = `  ${counted(newObjects, 'object')}, ${formatBytes(storedBytes)} stored in ${formatSeconds(seconds)}\n`;
  return `[${branch} ${shortId(id)}]\n${read}${cost}`;
}
