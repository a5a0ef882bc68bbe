import { ImgstoreError } from '../../errors/index.ts';

/** One assignment of a git config file. `key` is `section.name` or `section.subsection.name`; section and name in lower case. */
export interface ConfigEntry {
  readonly key: string;
  readonly value: string;
}

const SECTION_PATTERN = /^\[\s*([A-Za-z0-9.-]+)(?:\s+"((?:[^"\\]|\\.)*)")?\s*\]/;
const NAME_PATTERN = /^([A-Za-z][A-Za-z0-9-]*)\s*(=?)/;
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', b: '\b', '"': '"', '\\': '\\' };

/**
 * Parses git's config format (git-config(1), "Syntax"): sections, subsections in quotes, comments, quoted values, escapes, lines that
 * go on after a backslash, and names without a value, which mean true.
 * @throws ImgstoreError `BAD_STORE` naming file and line.
 */
export function parseConfig(text: string, path: string): ConfigEntry[] {
  const entries: ConfigEntry[] = [];
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/);
  let section: string | undefined;
  for (let number = 0; number < lines.length; number++) {
    let line = (lines[number] ?? '').trim();
    const wrong = () =>
      new ImgstoreError('BAD_STORE', `${path}:${number + 1}: '${line}' is not a line of a git config`, {
        path,
      });
    const header = SECTION_PATTERN.exec(line);
    if (header !== null) {
      const subsection = header[2]?.replace(/\\(.)/g, '$1');
      section = header[1]!.toLowerCase() + (subsection === undefined ? '' : `.${subsection}`);
      line = line.slice(header[0].length).trim();
    }
    if (line === '' || line.startsWith('#') || line.startsWith(';')) continue;
    const name = NAME_PATTERN.exec(line);
    if (name === null || section === undefined) throw wrong();
    const key = `${section}.${name[1]!.toLowerCase()}`;
    let rest = line.slice(name[0].length);
    if (name[2] === '') {
      if (rest !== '' && !/^[#;]/.test(rest)) throw wrong();
      entries.push({ key, value: 'true' });
      continue;
    }
    while (endsInBackslash(rest) && number + 1 < lines.length)
      rest = `${rest.slice(0, -1)}${lines[++number]}`;
    const value = parseValue(rest);
    if (value === undefined) throw wrong();
    entries.push({ key, value });
  }
  return entries;
}

function endsInBackslash(text: string): boolean {
  return (/\\*$/.exec(text)?.[0].length ?? 0) % 2 === 1;
}

/** Takes quotes and comments off and escapes apart; undefined when a quote stays open or an escape is unknown. */
function parseValue(text: string): string | undefined {
  let value = '';
  let quoted = false;
  // Spaces count only when something follows them, as git drops those at the end unless they are in quotes.
  let spaces = '';
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (!quoted && (char === '#' || char === ';')) break;
    if (!quoted && /\s/.test(char)) {
      spaces += value === '' ? '' : char;
      continue;
    }
    value += spaces;
    spaces = '';
    if (char === '"') {
      quoted = !quoted;
    } else if (char === '\\') {
      const escaped = ESCAPES[text[++i] ?? ''];
      if (escaped === undefined) return undefined;
      value += escaped;
    } else {
      value += char;
    }
  }
  return quoted ? undefined : value;
}
