import { spawn } from 'node:child_process';
import { ImgstoreError, isImgstoreError } from '../../errors/index.ts';
import { findProgram } from '../foreign/find-program.ts';

/** For what a command says: the XML of a domain with many checkpoints is far below that. */
const MOST_BYTES = 64 * 2 ** 20;
/** For one command. libvirt waits up to 30 s for another command to end, and the agent may freeze for a minute. */
const LIMIT_MS = 120_000;

/** Options of a command: `--name value`. */
export type VirshOptions = Readonly<Record<string, string | true>>;

/** `virsh`, by which libvirt is asked. It is run without a shell, and its words are English. */
export class Virsh {
  readonly #program: string;
  readonly #uri: string | undefined;

  private constructor(program: string, uri: string | undefined) {
    this.#program = program;
    this.#uri = uri;
  }

  /** @param uri of libvirt; its own choice when not given @throws ImgstoreError `UNSUPPORTED` when virsh is not installed */
  static find(uri: string | undefined): Virsh {
    const program = findProgram('virsh');
    if (program !== undefined) return new Virsh(program, uri);
    throw new ImgstoreError(
      'UNSUPPORTED',
      '--domain asks libvirt through virsh, and that is not installed: install it (Debian: apt install libvirt-clients)',
    );
  }

  /** Runs a command, and returns what it says. @throws ImgstoreError `LIBVIRT` with its last words */
  async run(command: string, options: VirshOptions = {}): Promise<string> {
    const connection = this.#uri === undefined ? [] : ['--connect', this.#uri];
    const words = Object.entries(options).flatMap(([name, value]) =>
      value === true ? [`--${name}`] : [`--${name}`, value],
    );
    const { status, said, errors } = await runProgram(this.#program, [
      '--quiet',
      ...connection,
      command,
      ...words,
    ]);
    if (status === 0) return said;
    throw new ImgstoreError('LIBVIRT', `virsh ${command}: ${inOneLine(errors) || `ended with ${status}`}`, {
      command,
      refused: typeof status === 'number',
    });
  }
}

/** Whether a failure is a refusal of libvirt, so that nothing has changed, with words that match if some are given. */
export function isRefused(error: unknown, words = /(?:)/): boolean {
  return isImgstoreError(error, 'LIBVIRT') && error.data.refused === true && words.test(error.message);
}

interface Outcome {
  /** Of its exit, or how it ended. */
  readonly status: number | string;
  readonly said: string;
  readonly errors: string;
}

function runProgram(program: string, args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      // A session of its own: Ctrl-C is for us, and what is begun must be ended in order. No terminal: it must not ask for passwords.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LC_ALL: 'C' },
    });
    const chunks: { said: Buffer[]; errors: Buffer[] } = { said: [], errors: [] };
    let bytes = 0;
    let why: string | undefined;
    const end = (reason: string) => {
      why ??= reason;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(() => end(`no answer for ${LIMIT_MS / 1000} s`), LIMIT_MS);
    const gather = (into: Buffer[]) => (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MOST_BYTES) return end(`more than ${MOST_BYTES} bytes of answer`);
      into.push(chunk);
    };
    child.stdout.on('data', gather(chunks.said));
    child.stderr.on('data', gather(chunks.errors));
    const done = (status: number | string) => {
      clearTimeout(timer);
      const text = (parts: Buffer[]) => Buffer.concat(parts).toString();
      resolve({ status, said: text(chunks.said), errors: why ?? text(chunks.errors) });
    };
    child.on('error', (error) => {
      why ??= error.message;
      done(error.message);
    });
    child.on('close', (code, signal) => done(why ?? code ?? `signal ${signal}`));
  });
}

/** virsh begins each of its lines with `error: `, and says what it wanted before it says why not. */
function inOneLine(errors: string): string {
  return errors
    .split('\n')
    .map((line) => line.replace(/^error: /, '').trim())
    .filter((line) => line !== '')
    .join(': ');
}
