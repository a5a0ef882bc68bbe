import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, onTestFinished } from 'vitest';

/** The command line as it is shipped. */
export const PROGRAM = fileURLToPath(new URL('../../dist/cmd/main.js', import.meta.url));

/** How a run ended. */
export interface Outcome {
  /** Exit code; null when a signal ended it. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly bytes: Buffer;
  /** stdout as text. */
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** Where it runs, instead of the workplace's own folder. */
  readonly cwd?: string;
  /** More variables; undefined takes one out. */
  readonly env?: NodeJS.ProcessEnv;
  /** A program, with arguments, that runs the command line. */
  readonly through?: readonly string[];
}

/** A run that goes on. */
export interface Running {
  readonly child: ChildProcess;
  readonly finished: Promise<Outcome>;
}

/** A folder in which the command line runs, with nothing of the machine's or the user's settings. */
export class Workplace {
  readonly folder: string;
  readonly #variables: NodeJS.ProcessEnv;

  /** @param variables of the environment, besides the usual ones */
  constructor(folder: string, variables: NodeJS.ProcessEnv = {}) {
    this.folder = folder;
    this.#variables = variables;
  }

  /** A new one; it goes away with the test that asked for it. */
  static async create(): Promise<Workplace> {
    const folder = await mkdtemp(join(tmpdir(), 'imgstore-cmd-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    return new Workplace(folder);
  }

  /** As {@link Workplace.create}, with an empty store. */
  static async withStore(...options: readonly string[]): Promise<Workplace> {
    const place = await Workplace.create();
    await place.ok('init', ...options);
    return place;
  }

  path(...names: readonly string[]): string {
    return join(this.folder, ...names);
  }

  get environment(): NodeJS.ProcessEnv {
    return {
      PATH: process.env.PATH,
      HOME: this.folder,
      LC_ALL: 'C',
      TZ: 'UTC',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_AUTHOR_NAME: 'An Author',
      GIT_AUTHOR_EMAIL: 'author@example.org',
      GIT_COMMITTER_NAME: 'A Committer',
      GIT_COMMITTER_EMAIL: 'committer@example.org',
      ...this.#variables,
    };
  }

  /** Starts imgstore. */
  start(args: readonly string[], options: RunOptions = {}): Running {
    const [command, ...rest] = [...(options.through ?? []), process.execPath, PROGRAM, ...args];
    const child = spawn(command!, rest, {
      cwd: options.cwd ?? this.folder,
      env: { ...this.environment, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    const finished = new Promise<Outcome>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status, signal) => {
        const bytes = Buffer.concat(stdout);
        resolve({
          status,
          signal,
          bytes,
          stdout: bytes.toString('utf8'),
          stderr: Buffer.concat(stderr).toString('utf8'),
        });
      });
    });
    return { child, finished };
  }

  /** Starts a server of the store, which ends with the test, and waits until it says something, or its end. Returns that. */
  async serve(...args: readonly string[]): Promise<Running & { readonly said: string }> {
    const running = this.start(['serve', ...args]);
    onTestFinished(async () => {
      running.child.kill('SIGKILL');
      await running.finished;
    });
    const [said] = await Promise.race([
      once(running.child.stdout!, 'data'),
      running.finished.then(({ stderr }) => [stderr]),
    ]);
    return { ...running, said: String(said) };
  }

  /** Runs imgstore, however it ends. */
  run(...args: readonly string[]): Promise<Outcome> {
    return this.start(args).finished;
  }

  /** Runs imgstore, which must succeed, and returns what it prints. */
  async ok(...args: readonly string[]): Promise<string> {
    const outcome = await this.run(...args);
    if (outcome.status !== 0)
      throw new Error(`imgstore ${args.join(' ')}: exit code ${outcome.status}: ${outcome.stderr}`);
    return outcome.stdout;
  }

  /** Runs imgstore with `--json`, which must succeed with one document. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look at what is there
  async json(...args: readonly string[]): Promise<any> {
    return JSON.parse(await this.ok(...args, '--json'));
  }

  /** Runs git on the store, which must succeed without a word on stderr, and returns what it prints, less the last line end. */
  git(...args: readonly string[]): string {
    return this.gitBytes(...args)
      .toString('utf8')
      .replace(/\n$/, '');
  }

  /** As {@link Workplace.git}, with the output as it is. */
  gitBytes(...args: readonly string[]): Buffer {
    const { status, stdout, stderr, error } = spawnSync(
      'git',
      ['--git-dir', this.path('.imgstore'), ...args],
      {
        cwd: this.folder,
        env: this.environment,
        maxBuffer: 2 ** 28,
      },
    );
    if (error !== undefined) throw error;
    if (status !== 0 || stderr.length > 0)
      throw new Error(`git ${args.join(' ')}: ${status}: ${stderr.toString()}`);
    return stdout;
  }

  /** Fails unless git finds the whole store in order, without a word. */
  fsck(): void {
    const out = this.git('fsck', '--full', '--strict', '--no-dangling', '--no-progress');
    if (out !== '') throw new Error(`git fsck: ${out}`);
  }
}

/** One workplace for the tests of a file; `prepare` fills it before the first. */
export function sharedWorkplace(prepare: (place: Workplace) => Promise<void>): () => Workplace {
  let place: Workplace | undefined;
  beforeAll(async () => {
    place = new Workplace(await mkdtemp(join(tmpdir(), 'imgstore-cmd-')));
    await prepare(place);
  });
  afterAll(async () => {
    if (place !== undefined) await rm(place.folder, { recursive: true, force: true });
  });
  return () => place!;
}

/** The one line that a failure prints on stderr; throws when there are more, or a stack. */
export function oneLine({ stderr }: Outcome): string {
  if (!/^imgstore: [^\n]+\n$/.test(stderr) || /^\s+at /m.test(stderr))
    throw new Error(`not one line: ${JSON.stringify(stderr)}`);
  return stderr.slice('imgstore: '.length, -1);
}
