/** A command line that changes files, to be run in a folder made by `makeHistory`. */
export interface WritingVerb {
  readonly name: string;
  readonly args: readonly string[];
  /** Parts of names of points that it must pass, so that it does what its name says. */
  readonly passes: readonly string[];
  /** What else leads to the same end when a kill has come half-way. */
  readonly otherwise?: readonly (readonly string[])[];
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
];
