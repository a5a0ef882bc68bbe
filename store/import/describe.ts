import { basename } from 'node:path';
import type { DiskState } from './states.ts';

/** The most of a snapshot's name that the first line of a message has, in characters. */
const MOST_NAME_CHARACTERS = 100;

/**
 * The message of a version.
 * @param message what the user says of all versions; else the first line tells what it is
 * @param tag of a snapshot
 */
export function messageOf(state: DiskState, message: string | undefined, tag: string | undefined): string {
  const title = titleOf(state);
  const { snapshot } = state;
  // Of a name that a tag cannot have, all is kept here.
  const name =
    snapshot !== undefined && snapshot.name !== tag ? `Name of the snapshot: ${quoted(snapshot.name)}` : '';
  const paragraphs = message === undefined ? [title, name] : [message.trimEnd(), `${title}.`, name];
  return paragraphs.filter((text) => text !== '').join('\n\n');
}

/** What a version was made of, for people: one line without control characters. */
export function titleOf({ file, snapshot }: DiskState): string {
  const from = plain(basename(file));
  return snapshot === undefined ? `Import ${from}` : `Import snapshot ${shortened(snapshot.name)} of ${from}`;
}

/** A name that came out of an image, quoted, on one line. */
function quoted(name: string): string {
  return plain(JSON.stringify(name));
}

function shortened(name: string): string {
  const characters = Array.from(name);
  return characters.length <= MOST_NAME_CHARACTERS
    ? quoted(name)
    : `${quoted(characters.slice(0, MOST_NAME_CHARACTERS).join(''))}…`;
}

/** Without what moves the cursor of a terminal or ends a line. */
function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`);
}
