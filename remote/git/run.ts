import { type ChildProcess, spawn } from 'node:child_process';
import { ImgstoreError, systemCode } from '../../errors/index.ts';
import { gitEnvironment } from './environment.ts';
import { type GitProgress, isProgress, parseProgress } from './progress.ts';

/** Lines of git's standard error that are kept for a message. */
const MOST_LINES = 60;
const MOST_LINE_CHARACTERS = 1000;
/** The refs of a remote: some 100 bytes each. */
const MOST_OUTPUT_BYTES = 2 ** 28;
/** How long git has to end when it is asked to. */
const GRACE_MS = 1000;

export interface GitRun {
  /** The repository it works for. */
  readonly gitDir: string;
  /** Settings for this run: `pack.window=0`. */
  readonly settings?: readonly string[];
  /** The command and its arguments. */
  readonly args: readonly string[];
  readonly input?: string | undefined;
  /** More variables. */
  readonly environment?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: GitProgress) => void) | undefined;
  /** Told of what the remote says to people (`remote: …`). */
  readonly onRemoteMessage?: ((line: string) => void) | undefined;
}

export interface GitOutcome {
  /** 0 for success. */
  readonly exitCode: number | undefined;
  /** For messages: `exit code 128`, `signal SIGKILL`. */
  readonly exit: string;
  readonly stdout: string;
  /** What it said on its standard error, without progress, the last lines. */
  readonly lines: readonly string[];
  /** The last that it said of a transfer. */
  readonly progress: GitProgress | undefined;
}

/** Processes to end however this one ends. */
const running = new Set<GitProcess>();
let endsAtExit = false;

/**
 * Runs the installed git to its end.
 * @throws ImgstoreError `UNSUPPORTED` when it is not installed, `INTERRUPTED`, `IO`
 */
export async function runGit(run: GitRun): Promise<GitOutcome> {
  if (run.signal?.aborted) throw interrupted();
  const git = new GitProcess(run);
  const stop = () => git.end();
  run.signal?.addEventListener('abort', stop);
  try {
    const outcome = await git.finished;
    if (run.signal?.aborted) throw interrupted();
    return outcome;
  } finally {
    run.signal?.removeEventListener('abort', stop);
  }
}

class GitProcess {
  readonly finished: Promise<GitOutcome>;
  readonly #child: ChildProcess;
  readonly #isGroup: boolean;
  readonly #run: GitRun;
  readonly #lines: string[] = [];
  #progress: GitProgress | undefined;
  #rest = '';
  #ended = false;

  constructor(run: GitRun) {
    this.#run = run;
    // With a terminal git and ssh may ask for passwords there, and Ctrl-C reaches them by itself. Without, a session of their own lets all of them be ended.
    const mayAsk = isAtTerminal();
    this.#isGroup = !mayAsk;
    const settings = (run.settings ?? []).flatMap((setting) => ['-c', setting]);
    if (!endsAtExit) process.on('exit', endAll);
    endsAtExit = true;
    this.#child = spawn('git', [`--git-dir=${run.gitDir}`, ...settings, ...run.args], {
      detached: this.#isGroup,
      stdio: [run.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      env: gitEnvironment(run.environment ?? {}, mayAsk),
    });
    running.add(this);
    // git may end before it has read all; why is what it says then.
    this.#child.stdin?.on('error', () => {});
    this.#child.stdin?.end(run.input);
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => this.#hear(text));
    this.finished = this.#wait();
  }

  /** Asks it to end, so that it removes what it has under way, and then has no patience. */
  end(): void {
    this.#kill('SIGTERM');
    setTimeout(() => this.#kill('SIGKILL'), GRACE_MS).unref();
  }

  kill(): void {
    this.#kill('SIGTERM');
  }

  #kill(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (this.#ended || pid === undefined) return;
    try {
      process.kill(this.#isGroup ? -pid : pid, signal);
    } catch {
      // It has ended by itself.
    }
  }

  #wait(): Promise<GitOutcome> {
    const output: Buffer[] = [];
    let size = 0;
    return new Promise((resolve, reject) => {
      this.#child.stdout?.on('data', (chunk: Buffer) => {
        size += chunk.length;
        output.push(chunk);
        if (size > MOST_OUTPUT_BYTES) {
          reject(new ImgstoreError('REMOTE_FAILED', `git says more than ${MOST_OUTPUT_BYTES} bytes`));
          this.end();
        }
      });
      this.#child.on('error', (error) => {
        this.#done();
        reject(notRun(error));
      });
      this.#child.on('close', (code, signal) => {
        this.#done();
        this.#hear('\n');
        resolve({
          exitCode: code ?? undefined,
          exit: signal === null ? `exit code ${code}` : `signal ${signal}`,
          stdout: Buffer.concat(output).toString('utf8'),
          lines: this.#lines,
          progress: this.#progress,
        });
      });
    });
  }

  #done(): void {
    this.#ended = true;
    running.delete(this);
  }

  #hear(text: string): void {
    const parts = (this.#rest + text).split(/[\r\n]/);
    this.#rest = (parts.pop() ?? '').slice(0, MOST_LINE_CHARACTERS);
    for (const part of parts) this.#hearLine(printable(part));
  }

  #hearLine(line: string): void {
    if (line === '') return;
    const progress = parseProgress(line);
    if (progress !== undefined) {
      // Before it counts bytes it has counted none.
      this.#progress = { ...progress, bytes: Math.max(progress.bytes, this.#progress?.bytes ?? 0) };
      this.#run.onProgress?.(this.#progress);
    }
    if (isProgress(line)) return;
    if (line.startsWith('remote: ')) this.#run.onRemoteMessage?.(line);
    this.#lines.push(line);
    if (this.#lines.length > MOST_LINES) this.#lines.shift();
  }
}

/** Whether git and ssh can ask somebody for passwords. */
export function isAtTerminal(): boolean {
  return process.stdin.isTTY && process.stderr.isTTY;
}

function endAll(): void {
  for (const git of running) git.kill();
}

/** A line without what a terminal would obey: parts of it are the remote's. */
function printable(line: string): string {
  return line
    .slice(0, MOST_LINE_CHARACTERS)
    .replace(/\x1b\[[0-9;]*[A-Za-z]|[\x00-\x1f\x7f-\x9f]/g, '')
    .trimEnd();
}

function interrupted(): ImgstoreError {
  return new ImgstoreError('INTERRUPTED', 'interrupted: git was stopped');
}

function notRun(error: Error): ImgstoreError {
  if (systemCode(error) === 'ENOENT')
    return new ImgstoreError(
      'UNSUPPORTED',
      'git is not installed, which goes to git remotes: install it (Debian: apt install git)',
      { program: 'git' },
      error,
    );
  return new ImgstoreError('IO', `git cannot be run: ${error.message}`, { program: 'git' }, error);
}
