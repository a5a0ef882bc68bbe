import { resolve } from 'node:path';
import { InvalidArgumentError } from 'commander';
import { parseSize } from '../block/index.ts';
import { ImgstoreError } from '../errors/index.ts';

/** A size argument in bytes: `65536`, `64K`, `1M`, `2G`. */
export function sizeArgument(text: string): number {
  const size = parseSize(text);
  if (size === undefined) throw new InvalidArgumentError(`'${text}' is not a size: write 65536, 64K, 1M, 2G`);
  return size;
}

/** A whole number that is not negative. */
export function countArgument(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new InvalidArgumentError(`'${text}' is not a number`);
  return Number(text);
}

/** What a decoder puts in the place of bytes that are not UTF-8. */
const REPLACEMENT = '\uFFFD';

/** The path of a file or folder: an empty one is most often a variable of a script that is not set. */
export function pathArgument(text: string): string {
  if (text === '') throw new InvalidArgumentError('a name of a file or folder is empty');
  // Node decodes the command line as UTF-8: other bytes are lost, and the name would be that of another file.
  if (text.includes(REPLACEMENT))
    throw new InvalidArgumentError(`'${text}' is not a name in UTF-8: give the file another one`);
  return text;
}

/** As {@link pathArgument}, for a path that is kept: it must mean the same file from every folder. */
export function absolutePathArgument(text: string): string {
  return resolve(pathArgument(text));
}

/** Gathers paths that may be given several times. */
export function collectPaths(text: string, before: readonly string[] | undefined): readonly string[] {
  return collect(pathArgument(text), before);
}

/** Gathers an option that may be given several times. */
export function collect(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

/** `NAME=FILE`, of `--disk` and `--attach`. */
export function parseNamedFile(
  option: string,
  text: string,
): { readonly name: string; readonly path: string } {
  const at = text.indexOf('=');
  if (at <= 0 || at === text.length - 1)
    throw new ImgstoreError('USAGE', `${option} ${text}: write NAME=FILE`, { option, text });
  return { name: text.slice(0, at), path: pathArgument(text.slice(at + 1)) };
}
