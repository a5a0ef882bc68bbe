/**
 * Variables by which a caller's git (a hook, an alias with `!`) says which repository it is about: with them git would work on that one. `git rev-parse
 * --local-env-vars` lists them; those that set config are the user's own wish and stay.
 */
const REDIRECTING = [
  'GIT_ALTERNATE_OBJECT_DIRECTORIES',
  'GIT_CEILING_DIRECTORIES',
  'GIT_COMMON_DIR',
  'GIT_CONFIG',
  'GIT_DEFAULT_HASH',
  'GIT_DIR',
  'GIT_DISCOVERY_ACROSS_FILESYSTEM',
  'GIT_GRAFT_FILE',
  'GIT_IMPLICIT_WORK_TREE',
  'GIT_INDEX_FILE',
  'GIT_INTERNAL_SUPER_PREFIX',
  'GIT_NAMESPACE',
  'GIT_OBJECT_DIRECTORY',
  'GIT_PREFIX',
  'GIT_QUARANTINE_PATH',
  'GIT_REPLACE_REF_BASE',
  'GIT_SHALLOW_FILE',
  'GIT_WORK_TREE',
];

/** Ways to a server that run no program of the URL's choice. The user's own list wins. */
const PROTOCOLS = 'file:git:http:https:ssh';

/**
 * What git gets of this process's environment, with what is asked for besides.
 * @param mayAsk whether somebody is there to type a password
 */
export function gitEnvironment(
  more: NodeJS.ProcessEnv,
  mayAsk: boolean,
  environment: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  const kept = { ...environment };
  for (const name of REDIRECTING) delete kept[name];
  return {
    GIT_ALLOW_PROTOCOL: PROTOCOLS,
    ...kept,
    // Refs below refs/replace/ would have git send and check other objects than those that were asked for.
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_OPTIONAL_LOCKS: '0',
    // Its messages are read here.
    LC_ALL: 'C',
    ...(mayAsk ? {} : { GIT_TERMINAL_PROMPT: '0' }),
    ...more,
  };
}
