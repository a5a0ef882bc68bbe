import { ImgstoreError } from '../errors/index.ts';
import {
  type Attachment,
  type CommitResult,
  commitDomain,
  commitMachine,
  type Monitor,
  type NamedNode,
  type Store,
} from '../store/index.ts';
import { parseNamedFile } from './arguments.ts';

/** What `imgstore commit` does with a store. */
export type Commit = (
  store: Store,
  attachments: readonly Attachment[],
  monitor: Monitor,
) => Promise<CommitResult>;

/** Options about image files, which have no meaning for a machine that runs. */
const FOR_FILES = {
  disk: '--disk',
  storedBase: '--stored-base',
  format: '--format',
  track: '--track',
  bitmap: '--bitmap',
  keyFile: '--key-file',
  forceShare: '--force-share',
} as const;

/** Options of `imgstore commit` for machines that run. */
export interface RunningOptions extends Readonly<Partial<Record<keyof typeof FOR_FILES, unknown>>> {
  readonly message?: string;
  readonly branch?: string;
  readonly parent?: string;
  readonly allowEmpty?: boolean;
  readonly allowBacking?: readonly string[];
  readonly qmp?: string;
  readonly domain?: string;
  readonly connect?: string;
  /** Never undefined: `--no-freeze` makes it false. */
  readonly freeze: boolean;
  readonly node?: readonly string[];
  readonly agent?: string;
  readonly scratch?: string;
}

/** What has a meaning with which of the two ways to a machine. */
const FOR_QMP = ['node', 'scratch', 'agent'] as const;
const FOR_DOMAINS = ['node', 'scratch', 'connect'] as const;

/** The commit of a machine that runs; undefined when none is asked for. @throws ImgstoreError `USAGE` */
export function runningCommit(images: readonly string[], options: RunningOptions): Commit | undefined {
  const { qmp, domain } = options;
  if (qmp !== undefined && domain !== undefined)
    throw new ImgstoreError('USAGE', '--qmp and --domain both name a machine: leave one out');
  refuseStray(options);
  const way = qmp === undefined ? '--domain' : '--qmp';
  if (qmp === undefined && domain === undefined) return undefined;
  refuseForFiles(way, images, options);
  const nodes = (options.node ?? []).map(parseNode);
  return (store, attachments, monitor) =>
    qmp === undefined
      ? commitDomain(store, { ...options, domain: domain!, nodes, attachments }, monitor)
      : commitMachine(store, { ...options, qmp, nodes, attachments }, monitor);
}

function refuseStray(options: RunningOptions): void {
  const { qmp, domain, freeze } = options;
  const known: readonly string[] = qmp !== undefined ? FOR_QMP : domain !== undefined ? FOR_DOMAINS : [];
  for (const name of new Set([...FOR_QMP, ...FOR_DOMAINS])) {
    if (options[name] === undefined || known.includes(name)) continue;
    throw new ImgstoreError('USAGE', strayText(name));
  }
  if (!freeze && domain === undefined) throw new ImgstoreError('USAGE', strayText('no-freeze'));
}

function strayText(name: string): string {
  if (['connect', 'no-freeze'].includes(name))
    return `--${name} is for machines of libvirt: name one with --domain`;
  return name === 'agent'
    ? '--agent is for machines that run: name one with --qmp; for --domain libvirt knows the agent'
    : `--${name} is for machines that run: name one with --qmp or --domain`;
}

function refuseForFiles(way: string, images: readonly string[], options: RunningOptions): void {
  if (images.length > 0)
    throw new ImgstoreError(
      'USAGE',
      `${way} stores the disks of the machine: leave out ${images[0]}, or name disks with --node`,
    );
  for (const [name, option] of Object.entries(FOR_FILES)) {
    if (options[name as keyof typeof FOR_FILES] !== undefined)
      throw new ImgstoreError('USAGE', `${option} is for images, and has no meaning with ${way}`);
  }
}

/** `NODE` or `NAME=NODE`. QEMU's own names for nodes have a `#`, and none has a `=`. */
function parseNode(text: string): NamedNode {
  if (!text.includes('=')) return { node: text };
  const { name, path } = parseNamedFile('--node', text);
  return { name, node: path };
}
