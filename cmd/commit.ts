import type { Command } from 'commander';
import { counted, ImgstoreError } from '../errors/index.ts';
import {
  BegunPush,
  type CommitResult,
  commitVersion,
  type DiskFormat,
  type DiskToStore,
  findRemote,
  type PushResult,
  pushRefs,
  type Store,
} from '../store/index.ts';
import { collect, collectPaths, parseNamedFile, pathArgument } from './arguments.ts';
import { startPackIfNeeded } from './auto-pack.ts';
import { type Commit, type RunningOptions, runningCommit } from './commit-running.ts';
import { Context } from './context.ts';
import { formatBytes, formatSeconds, shortId } from './format.ts';
import { DISK_FORMAT_HELP, diskFormatArgument } from './image-format.ts';
import { imageKey, KEY_FILE_HELP } from './image-key.ts';
import { interruption } from './signals.ts';

interface CommitOptions extends RunningOptions {
  readonly disk?: readonly string[];
  readonly format?: DiskFormat;
  readonly storedBase?: string;
  readonly track?: boolean;
  readonly bitmap?: string;
  readonly attach?: readonly string[];
  readonly forceShare?: boolean;
  readonly keyFile?: string;
  /** Name of a remote; true for the default one. */
  readonly push?: string | true;
}

/** `imgstore commit` */
export function define(command: Command): void {
  command
    .argument(
      '[image...]',
      'the disks of one machine, named vda, vdb, … in this order: files, block devices, NBD URIs',
      collectPaths,
    )
    .option('-m, --message <text>', 'what this version is')
    .option('-b, --branch <name>', "the image's name (default: the first file's name without its ending)")
    .option('--parent <rev>', 'the version that a new branch starts from')
    .option('--stored-base <rev>', "the version that an overlay's backing file held, which is gone")
    .option('--format <format>', DISK_FORMAT_HELP, diskFormatArgument)
    .option('--disk <name=image>', 'a disk with a name of its own (several times)', collect)
    .option('--attach <name=file>', 'a file to keep beside the disks (several times)', collect)
    .option('--allow-empty', 'make a version although nothing has changed')
    .option(
      '--allow-backing <dir>',
      'also follow backing files into this folder (several times)',
      collectPaths,
    )
    .option(
      '--track',
      'put a dirty bitmap into each qcow2, so that the next commit reads only what QEMU has written since',
    )
    .option(
      '--bitmap <name>',
      "of an NBD export: read only what this dirty bitmap has, which began when the export held the branch's last version",
    )
    .option('--key-file <file>', KEY_FILE_HELP, pathArgument)
    .option('--force-share', 'store an image although a running QEMU writes to it')
    .option(
      '--qmp <socket>',
      "store the disks of a machine that runs, by its QEMU's monitor: a unix socket, or HOST:PORT",
      pathArgument,
    )
    .option(
      '--domain <name>',
      'store the disks of a machine that runs under libvirt, of which the next commit reads only what was written since',
    )
    .option('--connect <uri>', "with --domain: which libvirt (default: virsh's own choice)")
    .option(
      '--no-freeze',
      "with --domain: leave the guest's file systems as they are, although it has an agent",
    )
    .option(
      '--node <[name=]node>',
      'with --qmp and --domain: only this disk, by its node, device, target or path (several times)',
      collect,
    )
    .option(
      '--agent <socket>',
      "with --qmp: freeze the guest's file systems for the moment, by its guest agent",
      pathArgument,
    )
    .option(
      '--scratch <dir>',
      'with --qmp and --domain: where QEMU keeps what the guest overwrites meanwhile (default: beside the image)',
      pathArgument,
    )
    .option('--push [remote]', 'then push the branch (default: to origin, or the only remote)')
    .addHelpText(
      'after',
      '\nExample:\n  imgstore commit web.qcow2 -m "before the upgrade"\n  imgstore commit --disk vda=a.qcow2 --disk vdb=b.raw --attach domain.xml=web.xml -b web\n  imgstore commit --qmp /run/web.qmp -b web\n  imgstore commit --domain web --push',
    )
    .action(async (images: readonly string[], options: CommitOptions, command: Command) => {
      const context = new Context(command);
      const commit = commitOf(images, options);
      const { result, pushed } = await context.withStore(async (store) => {
        const attachments = (options.attach ?? []).map((text) => parseNamedFile('--attach', text));
        const push = options.push === undefined ? undefined : beginPush(context, store, options.push);
        const made = await context
          .monitored('commit', (monitor) => commit(store, attachments, { ...monitor, newObjects: push }))
          .catch(async (error: unknown) => {
            await push?.close();
            throw error;
          });
        const sent = push === undefined ? undefined : await pushMade(context, store, made, push);
        if (startPackIfNeeded(store)) context.notice('packing the store in the background');
        return { result: made, pushed: sent };
      });
      const live = options.qmp !== undefined || options.domain !== undefined;
      const json = { ...commitJson(result), live };
      if (pushed === undefined) return context.result(json, () => commitText(result));
      // What prints tables takes longer to load than a small commit to make.
      const { pushJson, pushText } = await import('./push.ts');
      context.result({ ...json, push: pushJson(pushed) }, () => commitText(result) + pushText(pushed));
      const { reportRejected } = await import('./ref-changes.ts');
      reportRejected('push', pushed.updates);
    });
}

/** Asks the remote while the commit is made, which waits for disks. @throws ImgstoreError `NOT_FOUND`, `USAGE` when there is no such remote: before anything is stored */
function beginPush(context: Context, store: Store, name: string | true): BegunPush {
  const remote = findRemote(store, name === true ? undefined : name);
  return new BegunPush(store, remote.name, {
    signal: interruption,
    onNotice: (text) => context.notice(text),
  });
}

/** Pushes the branch of a version that was just made, which is there whatever becomes of that. */
async function pushMade(
  context: Context,
  store: Store,
  { branch, commit }: CommitResult,
  begun: BegunPush,
): Promise<PushResult> {
  const request = { refs: [branch] };
  try {
    return await context.monitored('push', (monitor) => pushRefs(store, request, monitor, begun));
  } catch (error) {
    if (!(error instanceof ImgstoreError)) throw error;
    const stored = `${branch} ${shortId(commit)} is stored here, and was not pushed`;
    throw new ImgstoreError(error.code, `${stored}: ${error.message}`, { ...error.data, commit }, error);
  }
}

/** Which kind of commit is asked for. @throws ImgstoreError `USAGE` */
function commitOf(images: readonly string[], options: CommitOptions): Commit {
  const running = runningCommit(images, options);
  if (running !== undefined) return running;
  const disks = namedDisks(images, options.disk ?? []);
  return (store, attachments, monitor) =>
    commitVersion(store, { ...options, disks, attachments, key: imageKey(options.keyFile) }, monitor);
}

function namedDisks(images: readonly string[], named: readonly string[]): DiskToStore[] {
  const disks = [
    ...images.map((path, i) => ({ name: `vd${String.fromCharCode(0x61 + i)}`, path })),
    ...named.map((text) => parseNamedFile('--disk', text)),
  ];
  if (disks.length === 0) throw new ImgstoreError('USAGE', "no image is named: run 'imgstore commit IMAGE'");
  if (images.length > 26) throw new ImgstoreError('USAGE', `${images.length} images: name them with --disk`);
  return disks;
}

function commitJson({ disks, ...result }: CommitResult) {
  return {
    ...result,
    disks: disks.map(({ name, virtualSize, clusters, newClusters, readBytes, map }) => ({
      name,
      virtualSize,
      clusters,
      newClusters,
      readBytes,
      map: map.id,
    })),
  };
}

function commitText(result: CommitResult): string {
  if (result.unchanged) {
    const id = shortId(result.commit);
    const lost =
      result.newObjects === 0
        ? ''
        : `, ${counted(result.newObjects, 'lost object is', 'lost objects are')} stored again`;
    return result.newBranch
      ? `${result.branch}: new branch at ${id}, which holds the same bytes${lost}\n`
      : `${result.branch}: unchanged, still ${id}${lost}\n`;
  }
  const disks = result.disks.map(
    ({ name, virtualSize, clusters, newClusters, readBytes }) =>
      `  ${name}: ${formatBytes(virtualSize)}, ${counted(clusters, 'cluster')} with data, ${newClusters} new, ${formatBytes(readBytes)} read\n`,
  );
  const cost = `  ${counted(result.newObjects, 'object')}, ${formatBytes(result.storedBytes)} stored in ${formatSeconds(result.seconds)}\n`;
  return `[${result.branch} ${shortId(result.commit)}]\n${disks.join('')}${cost}`;
}
