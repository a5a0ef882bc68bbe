import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Moment } from '../live/proxy.ts';

/** A `virsh` that does something at one of its calls, and writes down which there were. */
export interface VirshProxy {
  /** With the proxy's folder at its beginning. */
  readonly path: string;
  /** The commands that were called for, in order. */
  readonly commands: () => string[];
}

/**
 * Makes a `virsh` for PATH that runs the real one.
 * @param at number of the call from 1 on, or the name of a command
 * @param act shell code; `$PPID` is the caller @param shell code in place of the real virsh, for commands by name
 */
export function virshProxy(
  folder: string,
  at: number | string,
  moment: Moment,
  act: string,
  instead: Readonly<Record<string, string>> = {},
): VirshProxy {
  mkdirSync(folder);
  const log = join(folder, 'calls');
  const cases = Object.entries(instead).map(([name, code]) => `${name}) ${code} ;;`);
  const script = `#!/bin/sh
command=$4
real() { PATH='${process.env.PATH}' virsh "$@"; }
echo "$command" >> '${log}'
here=no
[ "$(wc -l < '${log}')" = '${at}' ] || [ "$command" = '${at}' ] && here=yes
[ $here = yes ] && [ ${moment} = before ] && { ${act}; }
case $command in
${cases.join('\n')}
*) real "$@" ;;
esac
status=$?
[ $here = yes ] && [ ${moment} = after ] && { ${act}; }
exit $status
`;
  const program = join(folder, 'virsh');
  writeFileSync(program, script);
  chmodSync(program, 0o755);
  return {
    path: `${folder}${delimiter}${process.env.PATH}`,
    commands: () => (existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : []),
  };
}

/** Runs something in this process while `virsh` is the proxy. */
export async function withVirsh<T>({ path }: VirshProxy, work: () => Promise<T>): Promise<T> {
  const before = process.env.PATH;
  process.env.PATH = path;
  try {
    return await work();
  } finally {
    process.env.PATH = before;
  }
}
