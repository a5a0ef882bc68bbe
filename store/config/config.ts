import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseSize } from '../../block/index.ts';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';
import { type ConfigEntry, parseConfig } from './parse.ts';

/** git's own bound on files that include each other. */
const MOST_INCLUDES = 10;

/** git's truth values (git-config(1), "Values"). */
const TRUE_VALUES: readonly string[] = ['true', 'yes', 'on', '1'];
const FALSE_VALUES: readonly string[] = ['false', 'no', 'off', '0', ''];

/** Settings from several files, of which the last assignment of a key counts. Keys are as in {@link ConfigEntry}. */
export class Config {
  /** Those of the store's own file, without what it includes: git takes the format of a repository from nowhere else. */
  readonly own: readonly ConfigEntry[];
  readonly #entries: readonly ConfigEntry[];

  constructor(entries: readonly ConfigEntry[], own: readonly ConfigEntry[] = []) {
    this.#entries = entries;
    this.own = own;
  }

  get(key: string): string | undefined {
    return this.all(key).at(-1);
  }

  /** Every value of a key that may be set several times, in order. */
  all(key: string): readonly string[] {
    const wanted = foldCase(key);
    return this.#entries.filter((entry) => foldCase(entry.key) === wanted).map(({ value }) => value);
  }

  /** What the first group of a pattern finds in the keys. */
  names(pattern: RegExp): readonly string[] {
    return this.#entries.flatMap(({ key }) => pattern.exec(key)?.[1] ?? []);
  }

  /** A truth value as git reads it; undefined when it is not set. @throws ImgstoreError `BAD_STORE` naming the key. */
  boolean(key: string): boolean | undefined {
    const value = this.get(key)?.toLowerCase();
    if (value === undefined) return undefined;
    if (TRUE_VALUES.includes(value)) return true;
    if (FALSE_VALUES.includes(value)) return false;
    throw new ImgstoreError('BAD_STORE', `config ${key} = ${value}: is neither true nor false`, {
      key,
      value,
    });
  }

  /** A size or count: digits, with `k`, `m` or `g`; `fallback` when it is not set. @throws ImgstoreError `BAD_STORE` naming the key. */
  number<T extends number | undefined>(key: string, fallback: T): number | T {
    const value = this.get(key);
    if (value === undefined) return fallback;
    const size = parseSize(value);
    if (size === undefined)
      throw new ImgstoreError('BAD_STORE', `config ${key} = ${value}: is not a number`, { key, value });
    return size;
  }
}

/**
 * The settings that hold for a store: those of the system, of the user, then the store's own `config`, in git's order. A file of the
 * system or the user that may not be read is left out with a notice.
 * @throws ImgstoreError `BAD_STORE` when a file is not valid, `IO`.
 */
export async function loadConfig(
  storeConfig: string,
  environment: NodeJS.ProcessEnv = process.env,
  onNotice: (notice: string) => void = () => {},
): Promise<Config> {
  const home = environment.HOME ?? homedir();
  const global = environment.GIT_CONFIG_GLOBAL;
  const files = [
    environment.GIT_CONFIG_NOSYSTEM ? [] : ['/etc/gitconfig'],
    global === undefined
      ? [join(environment.XDG_CONFIG_HOME || join(home, '.config'), 'git/config'), join(home, '.gitconfig')]
      : [global],
  ].flat();
  const entries: ConfigEntry[] = [];
  for (const file of files) {
    const text = await readIfAllowed(file, onNotice);
    if (text !== undefined) await addFile({ path: file, text, home, depth: 0 }, entries);
  }
  const text = (await readIfThere(storeConfig)) ?? '';
  await addFile({ path: storeConfig, text, home, depth: 0 }, entries);
  return new Config(entries, parseConfig(text, storeConfig));
}

/** Case counts in the middle part of a key only, as in git. */
function foldCase(key: string): string {
  const [first, last] = [key.indexOf('.'), key.lastIndexOf('.')];
  return key.slice(0, first).toLowerCase() + key.slice(first, last) + key.slice(last).toLowerCase();
}

interface ConfigFile {
  readonly path: string;
  readonly text: string;
  /** What `~/` stands for. */
  readonly home: string;
  /** Number of files that lead here. */
  readonly depth: number;
}

/** Adds the assignments of a file, and in the place of an `include.path` those of the file that it names. */
async function addFile({ path, text, home, depth }: ConfigFile, into: ConfigEntry[]): Promise<void> {
  if (depth > MOST_INCLUDES)
    throw new ImgstoreError('BAD_STORE', `${path}: config files include each other too deep`, { path });
  for (const entry of parseConfig(text, path)) {
    into.push(entry);
    if (entry.key !== 'include.path') continue;
    const included = entry.value.startsWith('~/')
      ? join(home, entry.value.slice(2))
      : resolve(dirname(path), entry.value);
    const more = await readIfThere(included);
    if (more !== undefined) await addFile({ path: included, text: more, home, depth: depth + 1 }, into);
  }
}

/** Another user's home, as under sudo, must not stop the work: git too goes on without such a file. */
async function readIfAllowed(path: string, onNotice: (notice: string) => void): Promise<string | undefined> {
  try {
    return await readIfThere(path);
  } catch (error) {
    if (!(error instanceof ImgstoreError) || error.data.system !== 'EACCES') throw error;
    onNotice(`${error.message}: its settings are left out`);
    return undefined;
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return undefined;
    throw fromSystem(error, path);
  }
}
