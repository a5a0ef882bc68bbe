import { ImgstoreError } from '../../errors/index.ts';
import type { Sharing } from '../../files/index.ts';
import type { Config } from './config.ts';

const KEY = 'core.sharedRepository';

const GROUP: Sharing = { bits: 0o660, exact: false };
const EVERYBODY: Sharing = { bits: 0o664, exact: false };

const NAMES: Readonly<Record<string, Sharing | undefined>> = {
  umask: undefined,
  group: GROUP,
  all: EVERYBODY,
  world: EVERYBODY,
  everybody: EVERYBODY,
};

/** Numbers that once were levels, before they were modes. */
const LEVELS: readonly (Sharing | undefined)[] = [undefined, GROUP, EVERYBODY];

const OWNER_BITS = 0o600;

/** git's truth values (git-config(1), "Values"). */
const TRUE = ['true', 'yes', 'on'];
const FALSE = ['false', 'no', 'off', ''];

/** `core.sharedRepository` of a store. Undefined: as the umask says. @throws ImgstoreError `BAD_STORE`. */
export function sharingOf(config: Config): Sharing | undefined {
  const value = config.get(KEY);
  return value === undefined ? undefined : parseSharing(value, KEY, 'BAD_STORE');
}

/**
 * Reads a value of `core.sharedRepository` as git does (setup.c, git_config_perm).
 * @param name of what has the value, for errors
 * @throws ImgstoreError of the code, for what is no such value, and for a mode in which the owner cannot read and write
 */
export function parseSharing(value: string, name: string, code: 'USAGE' | 'BAD_STORE'): Sharing | undefined {
  if (Object.hasOwn(NAMES, value)) return NAMES[value];
  const word = value.toLowerCase();
  if (TRUE.includes(word)) return GROUP;
  if (FALSE.includes(word)) return undefined;
  const bad = (reason: string) =>
    new ImgstoreError(code, `${name} = ${value}: ${reason}: use false, group, all or a mode as 0660`, {
      name,
      value,
    });
  if (!/^[0-7]{1,7}$/.test(value)) throw bad('is not known');
  const mode = Number.parseInt(value, 8);
  if (mode < LEVELS.length) return LEVELS[mode];
  if ((mode & OWNER_BITS) !== OWNER_BITS) throw bad('the owner must be able to read and write');
  return { bits: mode & 0o666, exact: true };
}

/** How git writes it into a config, so that old versions read it too. */
export function encodeSharing(sharing: Sharing): string {
  const level = LEVELS.indexOf(sharing);
  return level === -1 ? `0${sharing.bits.toString(8)}` : String(level);
}
