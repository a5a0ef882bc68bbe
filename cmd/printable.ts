/** What a terminal may obey: C0 and C1 controls and DEL, but tabs and ends of lines, also those of Windows. */
const CONTROL_PATTERN = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

/**
 * Text for people, with control characters as `\u{1b}`: messages, names of people and of branches come from whoever has pushed them, and what is in them must not move the cursor, change what is shown
 * or answer for the user. It is the same on a terminal, in a pager and in a file; `--json` has all as it is.
 */
export function printable(text: string): string {
  return text.replace(CONTROL_PATTERN, (control, at: number) =>
    control === '\r' && text[at + 1] === '\n' ? '' : `\\u{${control.charCodeAt(0).toString(16)}}`,
  );
}
