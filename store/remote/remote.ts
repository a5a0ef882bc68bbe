import type { Config } from '../config/config.ts';

/** What is known of a remote beside its name and URL, as the keys of its section are called in git's config. */
export interface RemoteSettings {
  /** S3: the server, where it is not AWS. */
  readonly endpoint?: string | undefined;
  /** S3. */
  readonly region?: string | undefined;
  /** S3: the bucket's name stands in the path of URLs, not in the host's name. */
  readonly pathStyle?: boolean | undefined;
  /** S3: the part of AWS's credentials file. */
  readonly profile?: string | undefined;
  /** S3: path of a file of age recipients, for whom everything is encrypted. */
  readonly recipients?: string | undefined;
  /** S3: path of a file of age identities, by which it is decrypted. */
  readonly identity?: string | undefined;
}

/** A remote, as the config has it. */
export interface Remote extends RemoteSettings {
  /** Undefined for a URL that was given on the command line. */
  readonly name: string | undefined;
  readonly url: string;
  /** Where pushes go, when that is another URL. */
  readonly pushUrl?: string | undefined;
  /** Which of its refs go where (git's refspecs). */
  readonly fetch: readonly string[];
  /** What is pushed when nothing is named. */
  readonly push: readonly string[];
  /** `--no-tags` or `--tags`: what of its tags is fetched. */
  readonly tagOption?: string | undefined;
  /** Refs that it has no more are removed here at every fetch. */
  readonly prune: boolean;
}

/** The settings of S3 remotes: in the config, and as options. */
export const S3_SETTINGS = ['endpoint', 'region', 'pathStyle', 'profile', 'recipients', 'identity'] as const;

/** A remote as the config has it; undefined when it has none of the name. @throws ImgstoreError `BAD_STORE`. */
export function readRemote(config: Config, name: string): Remote | undefined {
  const get = (key: string) => config.get(`remote.${name}.${key}`);
  const url = get('url');
  if (url === undefined) return undefined;
  const settings = Object.fromEntries(S3_SETTINGS.map((key) => [key, get(key)]));
  return {
    ...settings,
    pathStyle: config.boolean(`remote.${name}.pathStyle`),
    name,
    url,
    pushUrl: get('pushurl'),
    fetch: config.all(`remote.${name}.fetch`),
    push: config.all(`remote.${name}.push`),
    tagOption: get('tagOpt'),
    prune: config.boolean(`remote.${name}.prune`) ?? config.boolean('fetch.prune') ?? false,
  };
}
