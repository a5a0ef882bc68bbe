import type { Command } from 'commander';
import { ImgstoreError } from '../errors/index.ts';
import {
  BRANCHES,
  createBranch,
  deleteRef,
  listImages,
  renameBranch,
  type Store,
  subject,
} from '../store/index.ts';
import { Context } from './context.ts';
import { shortId, wasAt } from './format.ts';
import { printRefs } from './ref-list.ts';

interface BranchOptions {
  readonly delete?: boolean;
  readonly move?: boolean;
  readonly force?: boolean;
}

/** `imgstore branch` */
export function define(command: Command): void {
  command
    .argument('[name]', 'the branch')
    .argument('[rev]', 'the version it starts from (default: HEAD); with -m the new name')
    .option('-d, --delete', 'remove it; its versions stay until a garbage collection')
    .option('-m, --move', 'rename it')
    .option('-f, --force', 'move a branch that is there; with -m replace one that has the new name')
    .addHelpText(
      'after',
      '\nExample:\n  imgstore branch web-test web~1\n  imgstore branch -m web-test web-lab',
    )
    .action(
      async (
        name: string | undefined,
        revision: string | undefined,
        options: BranchOptions,
        command: Command,
      ) => {
        const context = new Context(command);
        await context.withStore(async (store) => {
          if (name === undefined) return list(context, store, options);
          if (options.delete) {
            if (revision !== undefined || options.move || options.force)
              throw new ImgstoreError('USAGE', 'branch -d takes a name only');
            const id = await deleteRef(store, BRANCHES, name);
            context.result({ name, deleted: id }, () => `removed branch '${name}' (${wasAt(id)})\n`);
          } else if (options.move) {
            if (revision === undefined)
              throw new ImgstoreError('USAGE', 'branch -m takes the old and the new name');
            const id = await renameBranch(store, name, revision, options.force);
            context.result({ name: revision, commit: id }, () => `branch '${name}' is now '${revision}'\n`);
          } else {
            const id = await createBranch(store, name, revision ?? 'HEAD', options.force);
            context.result({ name, commit: id }, () => `branch '${name}' starts at ${shortId(id)}\n`);
          }
        });
      },
    );
}

async function list(context: Context, store: Store, options: BranchOptions): Promise<void> {
  if (options.delete || options.move || options.force)
    throw new ImgstoreError('USAGE', "branch: name the branch; see 'imgstore branch --help'");
  const images = await listImages(store);
  const lines = images.map(({ name, id, commit, damaged }) => {
    return { name, id, text: subject(commit?.message ?? ''), damaged };
  });
  printRefs(context, lines);
}
