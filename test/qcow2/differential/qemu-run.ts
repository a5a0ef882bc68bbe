import { execFile } from 'node:child_process';

/** How a program of QEMU ended. */
export interface Ended {
  /** Exit code; -1 when a signal or the time limit ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A damaged image may keep QEMU busy for hours. */
const TIME_LIMIT_MS = 30_000;

/** Runs a program of QEMU in `folder`, where it looks for data files, however it ends. */
export function qemu(folder: string, program: string, args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { cwd: folder, maxBuffer: 2 ** 27, timeout: TIME_LIMIT_MS };
    execFile(program, [...args], options, (error, stdout, stderr) => {
      resolve({
        code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1,
        stdout,
        stderr,
      });
    });
  });
}

/** Runs a program that must succeed. */
export async function qemuDone(folder: string, program: string, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await qemu(folder, program, args);
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: exit code ${code}: ${stderr}`);
  return stdout;
}
