import { dirname } from 'node:path';
import { ImgstoreError, shellWord } from '../../errors/index.ts';
import type { Config } from './config.ts';

/** Version of the store's layout: `imgstore.version` of its config. */
export const STORE_VERSION = 1;

/** The version of repositories that have extensions (git: repository-version). */
const GIT_VERSION = '1';

/** What to do about an extension that changes what lies in a repository in a way that imgstore does not know. */
const ADVICE: Readonly<Record<string, string>> = {
  partialclone: "objects may be missing: make a whole copy with 'git clone --bare' without --filter",
  refstorage: 'refs must be files: make a copy with git clone --bare --ref-format=files',
};

/** Extension of a repository of which objects are still at a remote, whose name it has (git: partial clone). */
const PARTIAL_CLONE = 'partialclone';

/**
 * Extensions that change nothing for imgstore. `preciousobjects` forbids to remove objects, which `gc` asks for itself; the `worktree` ones are
 * about working trees, beside which `gc` does not work.
 */
const HARMLESS = ['noop', 'noop-v1', 'preciousobjects', 'worktreeconfig', 'relativeworktrees'];

/**
 * Refuses a repository that is no store, or of a format that is not known: as git does, every extension must be understood.
 * @param path of the store's config
 * @throws ImgstoreError `BAD_STORE`
 */
export function refuseOtherFormats(config: Config, path: string): void {
  const bad = (reason: string) => new ImgstoreError('BAD_STORE', `${path}: ${reason}`, { path });
  const own = new Map(config.own.map(({ key, value }) => [key.toLowerCase(), value]));
  const gitVersion = own.get('core.repositoryformatversion')?.trim() ?? '0';
  if (Number(gitVersion) > Number(GIT_VERSION))
    throw bad(
      `core.repositoryformatversion is ${gitVersion}, this imgstore knows ${GIT_VERSION}: use a newer one`,
    );
  const hash = own.get('extensions.objectformat')?.toLowerCase() ?? 'sha1';
  if (hash !== 'sha256')
    throw bad(`extensions.objectformat is ${hash}, a store has sha256: run 'imgstore init' elsewhere`);
  if (gitVersion !== GIT_VERSION)
    throw bad(
      `core.repositoryformatversion is ${gitVersion}, with extensions it must be ${GIT_VERSION}: run ${setCommand(path, 'core.repositoryformatversion', GIT_VERSION)}`,
    );
  for (const [key, value] of own) {
    const extension = /^extensions\.(.*)$/.exec(key)?.[1];
    if (extension !== undefined && !isHarmless(extension, value, config))
      throw bad(
        `extensions.${extension} is ${value}: ${ADVICE[extension] ?? 'this imgstore does not know it: use a newer one'}`,
      );
  }
  const version = config.get('imgstore.version');
  if (version === undefined)
    throw bad(
      `has no imgstore.version: if this is a clone of a store, run ${setCommand(path, 'imgstore.version', STORE_VERSION)} (and the same for imgstore.clusterSize if the store's is not 65536); else it is no store`,
    );
  if (version !== String(STORE_VERSION))
    throw bad(`imgstore.version is ${version}, this imgstore knows ${STORE_VERSION}: use a newer one`);
}

function isHarmless(extension: string, value: string, config: Config): boolean {
  if (extension === 'objectformat') return true;
  if (extension === 'refstorage') return value.toLowerCase() === 'files';
  // What git has left out at other remotes, only git can fetch.
  if (extension === PARTIAL_CLONE) return config.get(`remote.${value}.url`)?.startsWith('s3://') === true;
  return HARMLESS.includes(extension);
}

/** The name of the S3 remote of which a store is a lazy clone; undefined for a whole store. */
export function lazyRemote(config: Config): string | undefined {
  return config.own.findLast(({ key }) => key.toLowerCase() === `extensions.${PARTIAL_CLONE}`)?.value;
}

/** The command that makes a setting, for a shell. With `--file`, as git itself may refuse the repository. */
function setCommand(path: string, key: string, value: string | number): string {
  return key.startsWith('imgstore.')
    ? `git -C ${shellWord(dirname(path))} config ${key} ${value}`
    : `git config --file ${shellWord(path)} ${key} ${value}`;
}
