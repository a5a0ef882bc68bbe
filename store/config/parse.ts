import { ImgstoreError } from '../../errors/index.ts';

/** One assignment of a git config file. `key` is `section.name` or `section.subsection.name`; section and name in lower case. */
export interface ConfigEntry {
  readonly key: string;
  readonly value: string;
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', b: '\b', '"': '"', '\\': '\\' };

/**
 * Parses git's config format (git-config(1), "Syntax"): sections, subsections in quotes, comments, quoted values, escapes, lines that
 * go on after a backslash, and names without a value, which mean true.
 * @throws ImgstoreError `BAD_STORE` naming file and line.
 */
export function parseConfig(text: string, path: string): ConfigEntry[] {
  const reader = new ConfigReader(text);
  try {
    return reader.read();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    const { number, line } = reader.place();
    throw new ImgstoreError(
      'BAD_STORE',
      `${path}:${number}: '${line.trim()}' is not a line of a git config`,
      {
        path,
        line: number,
      },
    );
  }
}

/**
 * A section of a config file: its name as in {@link ConfigEntry}, less the last part, and where it begins (its `[`) and ends (behind the line of its last entry), in
 * characters. Comments behind the last entry may well be about what follows.
 */
export interface ConfigSection {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/**
 * Where the sections of a config file are, for who changes the file. One that is there twice is listed twice.
 * @throws ImgstoreError `BAD_STORE` naming file and line.
 */
export function configSections(text: string, path: string): ConfigSection[] {
  parseConfig(text, path);
  const reader = new ConfigReader(text);
  reader.read();
  return reader.sections.map(({ name, start, last }, i) => {
    const lineEnd = text.indexOf('\n', last);
    const next = reader.sections[i + 1]?.start ?? text.length;
    return { name, start, end: Math.min(lineEnd < 0 ? text.length : lineEnd + 1, next) };
  });
}

/** Goes through the text character by character as git does (config.c, git_parse_source). */
class ConfigReader {
  readonly sections: { readonly name: string; readonly start: number; last: number }[] = [];
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    this.#skip(/\uFEFF/y);
  }

  read(): ConfigEntry[] {
    const entries: ConfigEntry[] = [];
    let section: string | undefined;
    for (;;) {
      this.#skip(/[ \t\r\n]*/y);
      if (this.#at >= this.#text.length) return entries;
      if (this.#skip(/[#;].*/y) !== undefined) continue;
      if (this.#skip(/\[/y) !== undefined) {
        const start = this.#at - 1;
        section = this.#section();
        this.sections.push({ name: section, start, last: this.#at });
        continue;
      }
      const name = this.#skip(/[A-Za-z][A-Za-z0-9-]*/y);
      if (name === undefined || section === undefined) throw new SyntaxError();
      const key = `${section}.${name.toLowerCase()}`;
      this.#skip(/[ \t]*/y);
      if (this.#skip(/=/y) !== undefined) entries.push({ key, value: this.#value() });
      else if (this.#skip(/(?=\r?\n|$)/y) !== undefined) entries.push({ key, value: 'true' });
      else throw new SyntaxError();
      this.sections.at(-1)!.last = this.#at;
    }
  }

  /** The line that reading stopped in. */
  place(): { readonly number: number; readonly line: string } {
    const lines = this.#text.slice(0, this.#at).split('\n');
    return { number: lines.length, line: this.#text.split('\n')[lines.length - 1] ?? '' };
  }

  /** What stands behind `[`, up to and with `]`. */
  #section(): string {
    const name = this.#skip(/[A-Za-z0-9.-]+/y)?.toLowerCase();
    if (name === undefined) throw new SyntaxError();
    if (this.#skip(/\]/y) !== undefined) return name;
    const subsection = this.#skip(/[ \t\r]+"(?:[^"\\\n]|\\.)*"\]/y);
    if (subsection === undefined) throw new SyntaxError();
    return `${name}.${subsection.trimStart().slice(1, -2).replace(/\\(.)/g, '$1')}`;
  }

  /** What stands behind `=`: quotes and comments off, escapes apart. */
  #value(): string {
    let value = '';
    let quoted = false;
    // Spaces count only between two other characters, as git drops those at both ends unless they are in quotes.
    let spaces = '';
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || char === '\n') {
        if (quoted) throw new SyntaxError();
        return value;
      }
      if (!quoted && this.#skip(/[#;].*/y) !== undefined) continue;
      this.#at++;
      if (!quoted && /[ \t\r]/.test(char)) {
        spaces += value === '' ? '' : char;
        continue;
      }
      value += spaces;
      spaces = '';
      if (char === '"') quoted = !quoted;
      else if (char === '\\') value += this.#escape();
      else value += char;
    }
  }

  /** What a backslash makes of the character behind it; nothing of the end of a line. */
  #escape(): string {
    this.#skip(/\r(?=\n)/y);
    const char = this.#text[this.#at];
    const meant = char === undefined || char === '\n' ? '' : ESCAPES[char];
    if (meant === undefined) throw new SyntaxError();
    this.#at++;
    return meant;
  }

  /** Takes what a sticky pattern finds just here. */
  #skip(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }
}
