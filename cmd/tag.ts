import type { Command } from 'commander';
import { ImgstoreError } from '../errors/index.ts';
import { createTag, deleteRef, type ListedTag, listTags, type Store, subject, TAGS } from '../store/index.ts';
import { Context } from './context.ts';
import { shortId, wasAt } from './format.ts';
import { printRefs } from './ref-list.ts';

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
            if (revision !== undefined || options.force || options.message !== undefined)
              throw new ImgstoreError('USAGE', 'tag -d takes a name only');
            const id = await deleteRef(store, TAGS, name);
            context.result({ name, deleted: id }, () => `removed tag '${name}' (${wasAt(id)})\n`);
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
  if (options.delete || options.force || options.message !== undefined)
    throw new ImgstoreError('USAGE', "tag: name the tag; see 'imgstore tag --help'");
  const tags = await listTags(store);
  const lines = tags.map((tag) => ({
    name: tag.name,
    id: tag.target,
    text: tagText(tag),
    damaged: tag.damaged,
    facts: { message: tag.annotation?.message.trimEnd(), ...foreignType(tag) },
  }));
  printRefs(context, lines);
}

/** The first line of the tag's message, and what is tagged when that is no version. */
function tagText(tag: ListedTag): string {
  const text = subject(tag.annotation?.message ?? '');
  const { type } = foreignType(tag);
  return type === undefined ? text : `(a ${type}) ${text}`.trimEnd();
}

/** What git has tagged when it is no commit. */
function foreignType({ type }: ListedTag): { readonly type?: string } {
  return type === undefined || type === 'commit' ? {} : { type };
}
