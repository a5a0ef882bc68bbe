/**
 * Steps of a set-up: a heading, then a program that must succeed.
 *
 * @module
 */
import { spawnSync } from 'node:child_process';

/** A step that did not succeed. The message is one line that says what to do, or what failed. */
export class StepFailed extends Error {
  name = 'StepFailed';

  /**
   * @param {string} message
   * @param {number} exitCode what the whole script then exits with
   */
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** Prints a heading, to tell one step's output from the next. */
export function heading(text) {
  console.log(`== ${text}`);
}

/**
 * Runs a program in the project's folder and waits for it. It shares the output but gets no input, so that
 * nothing can stop to ask a question.
 * @param {string} command
 * @param {readonly string[]} args
 * @returns {number} its exit status; 1 where a signal ended it or it could not be started
 */
export function run(command, args, { cwd, env = process.env }) {
  const { status, error } = spawnSync(command, args, { cwd, env, stdio: ['ignore', 'inherit', 'inherit'] });
  if (error) console.error(`${command}: ${error.message}`);
  return status ?? 1;
}

/**
 * Like {@link run}, but holds back what the program prints.
 * @returns {{ status: number, output: string }}
 */
export function runQuietly(command, args, { cwd, env = process.env }) {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  return { status: status ?? 1, output: error ? `${command}: ${error.message}\n` : `${stdout}${stderr}` };
}

/**
 * Runs the body of a script: a {@link StepFailed} becomes one line on standard error and an exit status.
 * @param {string} script the command to name in that line
 * @param {() => void | Promise<void>} body
 */
export async function runScript(script, body) {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof StepFailed)) throw error;
    console.error(`${script}: ${error.message}`);
    process.exitCode = error.exitCode;
  }
}
