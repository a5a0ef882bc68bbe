import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseSize } from '../../block/index.ts';
import { fromSystem, ImgstoreError, systemCode } from '../../errors/index.ts';
import { type ConfigEntry, parseConfig } from './parse.ts';

/** git's own bound on files that include each other. */
const MOST_INCLUDES = 10;

/** Settings from several files, of which the last assignment of a key counts. Keys are as in {@link ConfigEntry}. */
export class Config {
  readonly #entries: readonly ConfigEntry[];

  constructor(entries: readonly ConfigEntry[]) {
    this.#entries = entries;
  }

  get(key: string): string | undefined {
    const wanted = key.toLowerCase();
    return this.#entries.findLast((entry) => entry.key.toLowerCase() === wanted)?.value;
  }

  /** A size or count: digits, with `k`, `m` or `g`. @throws ImgstoreError `BAD_STORE` naming the key. */
  number(key: string, fallback: number): number {
    const value = this.get(key);
    if (value === undefined) return fallback;
    const size = parseSize(value);
    if (size === undefined)
      throw new ImgstoreError('BAD_STORE', `config ${key} = ${value}: is not a number`, { key, value });
    return size;
  }
}

/**
 * The settings that hold for a store: those of the system, of the user, then the store's own `config`, in git's order.
 * @throws ImgstoreError `BAD_STORE` when a file is not valid, `IO`.
 */
export async function loadConfig(
  storeConfig: string,
  environment: NodeJS.ProcessEnv = process.env,
): Promise<Config> {
  const home = environment.HOME ?? homedir();
  const global = environment.GIT_CONFIG_GLOBAL;
  const files = [
    environment.GIT_CONFIG_NOSYSTEM ? [] : ['/etc/gitconfig'],
    global === undefined
      ? [join(environment.XDG_CONFIG_HOME || join(home, '.config'), 'git/config'), join(home, '.gitconfig')]
      : [global],
    [storeConfig],
  ].flat();
  const entries: ConfigEntry[] = [];
  for (const file of files) await loadFile(file, home, 0, entries);
  return new Config(entries);
}

async function loadFile(path: string, home: string, depth: number, into: ConfigEntry[]): Promise<void> {
  if (depth > MOST_INCLUDES)
    throw new ImgstoreError('BAD_STORE', `${path}: config files include each other too deep`, { path });
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT' || systemCode(error) === 'ENOTDIR') return;
    throw fromSystem(error, path);
  }
  for (const entry of parseConfig(text, path)) {
    into.push(entry);
    if (entry.key !== 'include.path') continue;
    const included = entry.value.startsWith('~/')
      ? join(home, entry.value.slice(2))
      : resolve(dirname(path), entry.value);
    await loadFile(included, home, depth + 1, into);
  }
}
