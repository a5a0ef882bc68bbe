import { closeSync, openSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { ImgstoreError } from '../errors/index.ts';

const TERMINAL = '/dev/tty';

/**
 * Asks for a secret on the terminal, which does not show what is typed.
 * @returns its bytes; undefined when the process has no terminal.
 * @throws ImgstoreError `INTERRUPTED` on Ctrl-C and Ctrl-D.
 */
export async function promptSecret(question: string): Promise<Uint8Array | undefined> {
  let terminal: number;
  try {
    terminal = openSync(TERMINAL, 'r+');
  } catch {
    return undefined;
  }
  const output = openSync(TERMINAL, 'w');
  // Readline switches the echo of the terminal off, and its own goes nowhere.
  const muted = new Writable({ write: (_chunk, _encoding, done) => done() });
  const input = new ReadStream(terminal);
  const lines = createInterface({ input, output: muted, terminal: true, historySize: 0 });
  try {
    writeSync(output, question);
    return await new Promise<Uint8Array>((resolve, reject) => {
      lines.once('line', (line) => resolve(Buffer.from(line)));
      const stop = () => reject(new ImgstoreError('INTERRUPTED', 'interrupted: no key was given'));
      lines.once('SIGINT', stop);
      lines.once('close', stop);
    });
  } finally {
    lines.close();
    input.destroy();
    writeSync(output, '\n');
    closeSync(output);
  }
}
