import { type ErrorCode, ImgstoreError } from '../../errors/index.ts';

/** What git says last although it is not why it failed. */
const GENERIC_PATTERN =
  /Could not read from remote repository|index-pack failed|invalid index-pack output|hung up unexpectedly|unexpected disconnect|expected flush|failed to push some refs|Please make sure you have|and the repository exists|unpack-objects abnormal|early EOF|^remote:\s*$/;

const MESSAGE_PATTERN =
  /^(?:fatal|error|remote|ssh|warning|usage|git-[\w-]+): |: Permission denied|^Host key verification|^[\w.-]+@[\w.-]+: /;

/** A remote in SHA-1 format; the last is what git makes of an empty one when it pushes. */
const FORMAT_PATTERN =
  /mismatched algorithms|does not support this repository's hash algorithm|unknown (?:object format|hash algorithm)|unexpected capabilities\^\{\}/i;

/** What the remote has a ref to, and not itself. */
const MISSING_PATTERN = /not our ref ([0-9a-f]{64})/;

interface Meaning {
  readonly pattern: RegExp;
  readonly code: ErrorCode;
  readonly advice: string;
}

/** The first that fits anything that git has said counts. */
const MEANINGS: readonly Meaning[] = [
  {
    pattern: /No space left on device|Disk quota exceeded/i,
    code: 'IO',
    advice: 'free some room and run the command again',
  },
  {
    pattern: /transport '[^']*' not allowed|strange (?:host|path)name/i,
    code: 'UNSUPPORTED',
    advice: 'use ssh://, https://, file:// or a path',
  },
  {
    pattern: /dubious ownership/i,
    code: 'REMOTE_DENIED',
    advice:
      "it is another user's: run 'git config --global --add safe.directory PATH' if you trust that user",
  },
  {
    pattern:
      /Permission denied|Authentication failed|could not read (?:Username|Password)|returned error: (?:401|403)|Host key verification failed|access denied|insufficient permission/i,
    code: 'REMOTE_DENIED',
    advice: 'see that git itself may go there: git ls-remote URL',
  },
  {
    pattern:
      /does not appear to be a git repository|repository '[^']*' (?:not found|does not exist)|returned error: 404|Repository not found|no such repository|access denied or repository not exported/i,
    code: 'NOT_FOUND',
    advice: "make it there with 'git init --bare --object-format=sha256', or correct the URL",
  },
  {
    pattern:
      /did not send all necessary objects|pack is corrupted|inflate|pack has|SHA1 COLLISION|fsck error|bad object|missing (?:blob|tree|commit|tag|necessary)|unresolved delta|error in object|corrupt|packfile|not our ref|unable to (?:read|parse)|invalid object|revision walk setup failed|serious inflate/i,
    code: 'DAMAGED',
    advice: "nothing was taken over: have 'git fsck --full' or 'imgstore fsck' look at the remote",
  },
  {
    pattern:
      /Could not resolve host|Connection (?:refused|timed out|reset|closed)|unable to (?:access|connect|look up)|No route to host|Network is unreachable|hung up|disconnect|early EOF|RPC failed|Failed to connect|Could not read from remote repository|kex_exchange|Operation timed out/i,
    code: 'REMOTE_UNREACHABLE',
    advice: 'see whether the server runs and try again',
  },
];

/** The error that says why git has failed, from what it wrote on its standard error; `missing` of its data is an id that the remote has not. */
export function gitFailure(where: string, lines: readonly string[], exit: string): ImgstoreError {
  const said = lines.join('\n');
  if (FORMAT_PATTERN.test(said)) return otherFormat(where);
  const meaning = MEANINGS.find(({ pattern }) => pattern.test(said));
  const messages = lines.filter((line) => MESSAGE_PATTERN.test(line));
  const telling = messages.findLast((line) => !GENERIC_PATTERN.test(line) && !line.startsWith('warning: '));
  const reason = bare(telling ?? messages.at(-1) ?? lines.at(-1) ?? `git ended with ${exit}`);
  const advice = meaning?.advice ?? '';
  return new ImgstoreError(
    meaning?.code ?? 'REMOTE_FAILED',
    `${where}: ${reason}${advice === '' ? '' : `: ${advice}`}`,
    { where, exit, missing: MISSING_PATTERN.exec(said)?.[1] },
  );
}

/** A remote that has other ids than ours. */
export function otherFormat(where: string): ImgstoreError {
  return new ImgstoreError(
    'UNSUPPORTED',
    `${where}: is a repository in SHA-1 format, and a store has SHA-256: make another with 'git init --bare --object-format=sha256'`,
    { where },
  );
}

/** Without what git puts in front of every message, and without the full stop. */
function bare(line: string): string {
  return line
    .replace(/^(?:(?:fatal|error|remote|warning): +)+/i, '')
    .replace(/\.$/, '')
    .trim();
}
