import type { Command } from 'commander';
import { ImgstoreError } from '../errors/index.ts';
import { createTag, deleteRef, listTags, type Store, subject, TAGS } from '../store/index.ts';
import { Context } from './context.ts';
import { formatTable, shortId } from './format.ts';

interface TagOptions {
  readonly delete?: boolean;
  readonly message?: string;
  readonly force?: boolean;
}

/** `imgstore tag` */
export function define(command: Command): void {
  command
    .argument('[name]', 'the tag')
    .argument('[rev]', 'the version it marks (default: HEAD)')
    .option('-d, --delete', 'remove it; the version stays')
    .option('-m, --message <text>', 'make an annotated tag')
    .option('-f, --force', 'move a tag that is there')
    .addHelpText('after', '\nExample:\n  imgstore tag release-1 web~2')
    .action(
      async (
        name: string | undefined,
        revision: string | undefined,
        options: TagOptions,
        command: Command,
      ) => {
        const context = new Context(command);
        await context.withStore(async (store) => {
          if (name === undefined) return list(context, store, options);
          if (options.delete) {
            if (revision !== undefined) throw new ImgstoreError('USAGE', 'tag -d takes a name only');
            const id = await deleteRef(store, TAGS, name);
            context.result({ name, deleted: id }, () => `removed tag '${name}' (was ${shortId(id)})\n`);
            return;
          }
          const id = await createTag(store, name, revision ?? 'HEAD', options);
          context.result(
            { name, commit: store.objects.peel(id) },
            () => `tag '${name}' marks ${shortId(store.objects.peel(id))}\n`,
          );
        });
      },
    );
}

async function list(context: Context, store: Store, options: TagOptions): Promise<void> {
  if (options.delete || options.message !== undefined) throw new ImgstoreError('USAGE', 'tag: name the tag');
  const tags = await listTags(store);
  context.result(
    tags.map(({ name, target, annotation }) => ({
      name,
      commit: target,
      message: annotation?.message.trimEnd() ?? null,
    })),
    () =>
      tags.length === 0
        ? ''
        : formatTable(
            [],
            tags.map(({ name, target, annotation }) => [
              name,
              shortId(target),
              subject(annotation?.message ?? ''),
            ]),
          ),
  );
}
