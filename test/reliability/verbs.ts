import { join } from 'node:path';
import { qemuImg, qemuIo } from '../qcow2/qemu.ts';
import { succeedHere } from './run-here.ts';

/** A command line that changes files, to be run in a folder made by `makeHistory`. */
export interface WritingVerb {
  readonly name: string;
  /** Makes what it needs besides, in that folder. */
  readonly prepare?: (folder: string) => Promise<void>;
  readonly args: readonly string[];
  /** Parts of names of points that it must pass, so that it does what its name says. */
  readonly passes: readonly string[];
  /** What else leads to the same end when a kill has come half-way. */
  readonly otherwise?: readonly (readonly string[])[];
  /** It stores one version after the other. */
  readonly goesInSteps?: boolean;
  /** A qcow2 that it changes where it is. What a guest sees in it counts, and that QEMU finds nothing but leaks. */
  readonly changes?: ChangedImage;
}

/** An image that a verb changes where it is, past all points: a failure of the power in there is for tests of its own. */
export interface ChangedImage {
  readonly file: string;
  /** Whether a guest sees other bytes afterwards; then it may be anything on the way. */
  readonly hasOtherBytes: boolean;
}

const IMAGE = 'vm.qcow2';

/** An image with some clusters of data. */
async function makeImage(folder: string, ...options: readonly string[]): Promise<string> {
  const image = join(folder, IMAGE);
  await qemuImg('create', '-q', '-f', 'qcow2', '-o', 'cluster_size=4096', ...options, image, '48k');
  await qemuIo(image, 'write -P 1 4k 20k', 'write -P 2 40k 6k');
  return image;
}

/** An image that is kept track of and was written to since. */
async function makeTracked(folder: string): Promise<void> {
  const image = await makeImage(folder);
  await succeedHere(folder, 'commit', IMAGE, '--track');
  await qemuIo(image, 'write -P 3 12k 8k');
}

/** An image with an internal snapshot. */
async function makeSnapshot(folder: string): Promise<void> {
  const image = await makeImage(folder);
  await qemuImg('snapshot', '-c', 'one', image);
  await qemuIo(image, 'write -P 3 12k 8k');
}

/** An overlay on an older version, written to. */
async function makeOverlay(folder: string): Promise<void> {
  await succeedHere(folder, 'checkout', 'db~1', '-o', 'below.qcow2');
  await succeedHere(folder, 'checkout', 'db~1', '-o', IMAGE, '--backing', 'below.qcow2');
  await qemuIo(join(folder, IMAGE), 'write -P 3 2k 8k');
}

/** Every verb that writes, in each of the ways that it goes about it. */
export const WRITING_VERBS: readonly WritingVerb[] = [
  { name: 'init', args: ['init', 'fresh'], passes: ['init.rename'] },
  {
    name: 'commit of few objects',
    args: ['commit', 'web.raw', '-m', 'next'],
    passes: ['loose.rename', 'ref.rename'],
  },
  { name: 'commit of many objects', args: ['commit', 'db.raw', '-m', 'next'], passes: ['pack.rename'] },
  { name: 'commit of a new image', args: ['commit', 'mail.raw', '-m', 'new'], passes: ['loose.rename'] },
  { name: 'commit that changes nothing', args: ['commit', 'base.raw'], passes: ['work.create'] },
  { name: 'tag', args: ['tag', 'light', 'web'], passes: ['ref.rename'] },
  { name: 'tag with a message', args: ['tag', 'heavy', 'web', '-m', 'text'], passes: ['loose.rename'] },
  { name: 'tag that moves', args: ['tag', '--force', 'v1', 'db'], passes: ['ref.rename'] },
  { name: 'tag -d', args: ['tag', '-d', 'v2'], passes: ['packed-refs.rename', 'ref.remove'] },
  { name: 'branch', args: ['branch', 'new/name', 'db'], passes: ['ref.rename', 'reflog.write'] },
  { name: 'branch -m', args: ['branch', '-m', 'old', 'older'], passes: ['ref.rename', 'ref.remove'] },
  {
    name: 'branch -m to a name below',
    args: ['branch', '-m', 'web', 'web/x'],
    passes: ['reflog.remove'],
    otherwise: [['branch', '-m', 'web-renamed', 'web/x']],
  },
  { name: 'branch -m over another', args: ['branch', '-m', '--force', 'web', 'old'], passes: ['ref.remove'] },
  { name: 'branch -d', args: ['branch', '-d', 'old'], passes: ['packed-refs.rename', 'reflog.remove'] },
  { name: 'branch -d in a folder', args: ['branch', '-d', 'test/web'], passes: ['ref.remove'] },
  { name: 'pack', args: ['pack'], passes: ['pack.rename', 'midx.rename', 'pack.remove', 'loose.remove'] },
  { name: 'pack --aggressive', args: ['pack', '--aggressive'], passes: ['pack.rename', 'pack.remove'] },
  { name: 'gc', args: ['gc', '--prune', 'now'], passes: ['pack.rename', 'pack.remove', 'loose.remove'] },
  { name: 'forget of a version', args: ['forget', 'db~1'], passes: ['ref.rename'] },
  { name: 'forget --keep-last', args: ['forget', 'db', '--keep-last', '1'], passes: ['ref.rename'] },
  { name: 'checkout as raw', args: ['checkout', 'db', '-o', 'out.raw'], passes: ['checkout.link'] },
  { name: 'checkout as qcow2', args: ['checkout', 'db~1', '-o', 'out.qcow2'], passes: ['checkout.link'] },
  {
    name: 'checkout on a chain',
    args: ['checkout', 'db', '-o', 'out.qcow2', '--backing', 'chain'],
    passes: ['checkout.link'],
  },
  {
    name: 'checkout over a file',
    args: ['checkout', 'db', '-o', 'mail.raw', '--force'],
    passes: ['checkout.rename'],
  },
  {
    name: 'checkout --snapshots',
    args: ['checkout', 'db~1', 'db', '-o', 'out.qcow2', '--snapshots'],
    passes: ['checkout.link'],
  },
  {
    name: 'checkout --track',
    args: ['checkout', 'db', '-o', 'out.qcow2', '--track'],
    passes: ['checkout.link'],
    changes: { file: 'out.qcow2', hasOtherBytes: false },
  },
  {
    name: 'checkout --in-place',
    prepare: async (folder) => {
      await makeImage(folder);
    },
    args: ['checkout', 'db', '-o', IMAGE, '--in-place'],
    passes: ['work.create'],
    changes: { file: IMAGE, hasOtherBytes: true },
  },
  {
    name: 'commit --track',
    prepare: async (folder) => {
      await makeImage(folder);
    },
    args: ['commit', IMAGE, '--track'],
    passes: ['ref.rename'],
    changes: { file: IMAGE, hasOtherBytes: false },
  },
  {
    name: 'commit of a tracked image',
    prepare: makeTracked,
    args: ['commit', IMAGE],
    passes: ['ref.rename'],
    changes: { file: IMAGE, hasOtherBytes: false },
  },
  {
    name: 'import',
    prepare: makeSnapshot,
    goesInSteps: true,
    args: ['import', IMAGE, '--quiet'],
    passes: ['ref.rename'],
  },
  {
    name: 'rebase',
    prepare: makeOverlay,
    args: ['rebase', IMAGE, '--onto', 'db'],
    passes: ['checkout.link', 'rebase.fsync', 'rebase.fsync-folder'],
    changes: { file: IMAGE, hasOtherBytes: false },
  },
];
