import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fromSystem } from '../../errors/index.ts';
import { type FileRules, LockFile } from '../../files/index.ts';
import { configSections } from './parse.ts';

/** The marker that some editors put in front of UTF-8, as Latin-1. */
const MARKER = '\xef\xbb\xbf';

/** A key of a section and its value. */
export type ConfigSetting = readonly [name: string, value: string];

/** Another text of a config file, made from the one that is there. Both have a character for each byte. */
export type ConfigEdit = (text: string, path: string) => string;

/**
 * Changes a store's `config` under git's own lock; what the edit leaves alone stays as it is, byte for byte.
 * @throws ImgstoreError `BUSY` when it stays locked, `BAD_STORE` when it is not valid, `IO`
 */
export async function editConfig(storeFolder: string, rules: FileRules, edit: ConfigEdit): Promise<void> {
  const path = join(storeFolder, 'config');
  const lock = await LockFile.take('config', path, rules);
  try {
    // Latin-1, so that bytes of any encoding come back as they were.
    const before = readFileSync(path, 'latin1');
    const marker = before.startsWith(MARKER) ? MARKER : '';
    const after = marker + edit(before.slice(marker.length), path);
    if (after !== before) await lock.commit(Buffer.from(after, 'latin1'), statSync(path).mode & 0o777);
  } catch (error) {
    throw fromSystem(error, path);
  } finally {
    await lock.release();
  }
}

/** Adds a section (`remote`, `web`: `[remote "web"]`) at the end. */
export function withSection(
  section: string,
  subsection: string | undefined,
  settings: readonly ConfigSetting[],
): ConfigEdit {
  const title = subsection === undefined ? section : `${section} "${subsection.replace(/["\\]/g, '\\$&')}"`;
  const lines = settings.map(([name, value]) => `\t${name} = ${encodeValue(value)}\n`);
  const added = asBytes(`[${title}]\n${lines.join('')}`);
  return (text) => `${text}${text === '' || text.endsWith('\n') ? '' : '\n'}${added}`;
}

/** Takes out every section of a name (`remote.web`), with comments between its entries. */
export function withoutSection(name: string): ConfigEdit {
  const wanted = asBytes(name);
  return (text, path) =>
    configSections(text, path)
      .filter((section) => section.name === wanted)
      .reduceRight((rest, { start, end }) => rest.slice(0, lineStart(text, start)) + rest.slice(end), text);
}

/** Where the blanks before a character begin, if nothing else is before it in its line. */
function lineStart(text: string, at: number): number {
  const before = text.slice(0, at);
  const trimmed = before.replace(/[ \t]+$/, '');
  return trimmed === '' || trimmed.endsWith('\n') ? trimmed.length : at;
}

/** A value as git writes it (config.c, write_pair): in quotes where blanks at the ends or a comment sign would be lost. */
function encodeValue(value: string): string {
  const quote = /^\s|\s$|[;#]/.test(value) ? '"' : '';
  const escaped = value.replace(/["\\]/g, '\\$&').replaceAll('\t', '\\t').replaceAll('\n', '\\n');
  return quote + escaped + quote;
}

function asBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}
