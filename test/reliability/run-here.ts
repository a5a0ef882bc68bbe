import { runCommandLine } from '../../cmd/run.ts';

/** How a command line ended. */
export interface Ending {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Who acts, and when: the same command line on the same store then makes the same objects. */
export const ENVIRONMENT: Readonly<Record<string, string>> = {
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_NAME: 'A. Uthor',
  GIT_AUTHOR_EMAIL: 'author@example.org',
  GIT_AUTHOR_DATE: '1700000000 +0000',
  GIT_COMMITTER_NAME: 'C. Mitter',
  GIT_COMMITTER_EMAIL: 'committer@example.org',
  GIT_COMMITTER_DATE: '1700000000 +0000',
};

Object.assign(process.env, ENVIRONMENT);

/** Runs a command line of imgstore to its end in this process, where points can be watched, as if it was started in `folder`. */
export async function runHere(folder: string, ...args: readonly string[]): Promise<Ending> {
  const before = process.cwd();
  const [stdout, stderr] = [capture(process.stdout), capture(process.stderr)];
  const listeners = new Set(process.stdout.listeners('error'));
  try {
    const status = await runCommandLine(['-C', folder, ...args]);
    return { status, stdout: stdout.text(), stderr: stderr.text() };
  } finally {
    stdout.stop();
    stderr.stop();
    for (const each of process.stdout.listeners('error'))
      if (!listeners.has(each)) process.stdout.off('error', each as () => void);
    process.chdir(before);
    process.exitCode = undefined;
  }
}

/** As {@link runHere}; throws unless it succeeds. */
export async function succeedHere(folder: string, ...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await runHere(folder, ...args);
  if (status !== 0) throw new Error(`imgstore ${args.join(' ')}: exit code ${status}: ${stderr}`);
  return stdout;
}

/** Keeps back what is written to a stream. */
function capture(stream: NodeJS.WriteStream): { readonly text: () => string; readonly stop: () => void } {
  const chunks: Buffer[] = [];
  const write = stream.write.bind(stream);
  stream.write = (chunk: string | Uint8Array) => chunks.push(Buffer.from(chunk as Uint8Array)) > 0;
  return {
    text: () => Buffer.concat(chunks).toString(),
    stop: () => {
      stream.write = write;
    },
  };
}
