import type { Command } from 'commander';

/** A verb: what the list of verbs says of it, and where the rest is. */
export interface Verb {
  readonly name: string;
  readonly description: string;
  /** It changes nothing, so there is nothing to clean up: a signal ends it at once, as it ends any program. */
  readonly readsOnly?: boolean;
  /**
   * Begins what takes long, before the verb's file is loaded.
   * @param store as it was named
   * @returns what undoes it, if nobody came to need it
   */
  readonly prepare?: (argv: readonly string[], store: string | undefined) => Promise<() => void>;
  /** Loads the verb's file, which adds arguments, options and the action. */
  readonly load: () => Promise<{ readonly define: (command: Command) => void }>;
}

/** All verbs in the order of help. Only the one that is run is loaded: a store's code takes longer to load than most verbs to run. */
export const VERBS: readonly Verb[] = [
  {
    name: 'init',
    description: 'make a store: .imgstore in this folder or another',
    load: () => import('./init.ts'),
  },
  {
    name: 'commit',
    description: 'store a version of an image: a file, a block device or an NBD export',
    load: () => import('./commit.ts'),
  },
  {
    name: 'import',
    description: 'store the layers of an image and its internal snapshots, each as a version',
    load: () => import('./import.ts'),
  },
  {
    name: 'log',
    readsOnly: true,
    description: 'list versions, newest first; of all images when none is named',
    load: () => import('./log.ts'),
  },
  {
    name: 'show',
    readsOnly: true,
    description: 'tell all about one version',
    load: () => import('./show.ts'),
  },
  {
    name: 'images',
    readsOnly: true,
    description: 'list the images in the store',
    load: () => import('./images.ts'),
  },
  { name: 'tag', description: 'list tags, or make or remove one', load: () => import('./tag.ts') },
  {
    name: 'branch',
    description: 'list branches, or make, rename or remove one',
    load: () => import('./branch.ts'),
  },
  {
    name: 'checkout',
    description: 'write a version as an image file',
    prepare: async (argv, store) => {
      if (!argv.some((text) => text === 'nbd' || text === '--backing=nbd')) return () => {};
      return (await import('./early-server.ts')).startEarly(argv, store);
    },
    load: () => import('./checkout.ts'),
  },
  {
    name: 'rebase',
    description: 'put an overlay onto a file of another version, with the same bytes for its guest',
    load: () => import('./rebase.ts'),
  },
  {
    name: 'hydrate',
    description: 'copy into an overlay all that it stands on, so that it stands on nothing',
    load: () => import('./hydrate.ts'),
  },
  {
    name: 'mount',
    description: "show a version's disk as a file in a folder, through nbdfuse",
    load: () => import('./mount.ts'),
  },
  {
    name: 'cat',
    readsOnly: true,
    description: "write a version's bytes to stdout",
    load: () => import('./cat.ts'),
  },
  {
    name: 'serve',
    description: 'serve versions to virtual machines and tools over NBD',
    load: () => import('./serve.ts'),
  },
  {
    name: 'session',
    description: 'list disks that are written to over NBD, commit one while it is in use, or discard one',
    load: () => import('./session.ts'),
  },
  {
    name: 'diff',
    readsOnly: true,
    description: 'list the ranges in which two versions differ',
    load: () => import('./diff.ts'),
  },
  {
    name: 'compare',
    description: 'tell whether a version holds the same bytes as another or as an image',
    load: () => import('./compare.ts'),
  },
  {
    name: 'map',
    readsOnly: true,
    description: 'list where a version has data',
    load: () => import('./map.ts'),
  },
  {
    name: 'stats',
    readsOnly: true,
    description: 'tell what the store holds, and at what cost',
    load: () => import('./stats.ts'),
  },
  {
    name: 'pack',
    description: 'gather loose objects and small packs into a larger one, with deltas',
    load: () => import('./pack.ts'),
  },
  {
    name: 'forget',
    description: 'take versions out of the history of branches',
    load: () => import('./forget.ts'),
  },
  {
    name: 'gc',
    description: 'remove what no version needs any more',
    load: () => import('./gc.ts'),
  },
  {
    name: 'fsck',
    description: 'check every object, index and ref of the store, and repair what is damaged',
    load: () => import('./fsck.ts'),
  },
  {
    name: 'remote',
    description: 'list remotes, or add or remove one',
    load: () => import('./remote.ts'),
  },
  {
    name: 'verify',
    description: 'look whether an s3:// remote is whole, without a copy of it here',
    load: () => import('./verify.ts'),
  },
  {
    name: 'ls-remote',
    description: 'list the branches and tags that a remote has',
    load: () => import('./ls-remote.ts'),
  },
  {
    name: 'fetch',
    description: 'bring versions of a remote into the store',
    load: () => import('./fetch.ts'),
  },
  {
    name: 'pull',
    description: 'fetch, and move branches to where those of the remote are',
    load: () => import('./pull.ts'),
  },
  {
    name: 'push',
    description: 'send versions to a remote',
    load: () => import('./push.ts'),
  },
  {
    name: 'clone',
    description: 'make a store out of a remote',
    load: () => import('./clone.ts'),
  },
  {
    name: 'info',
    readsOnly: true,
    description: 'tell what an image file is; needs no store',
    load: () => import('./info.ts'),
  },
  {
    name: 'check',
    readsOnly: true,
    description: "check a qcow2 image's metadata, as qemu-img check does; needs no store",
    load: () => import('./check.ts'),
  },
];
