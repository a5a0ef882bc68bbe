import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { temporaryFolder } from '../../block/temporary-folder.ts';

export const GREETING = '{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": ["oob"]}}\r\n';

/** A request of QMP or of a guest agent. */
export interface FakeCommand {
  readonly execute: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly id?: string;
}

/** Closes the connection. */
export const END = Symbol('end');
export const SILENCE = Symbol('silence');

/** What to answer. */
export type Answer = string | Uint8Array | typeof END | typeof SILENCE;

export const reply = ({ id }: FakeCommand, value: unknown): string =>
  `${JSON.stringify({ return: value, id })}\n`;
export const refusal = ({ id }: FakeCommand, desc: string, errorClass = 'GenericError'): string =>
  `${JSON.stringify({ error: { class: errorClass, desc }, id })}\n`;

/** Starts what is no QEMU, and returns its socket's path; it ends with the test. */
export async function fakeMonitor(
  greeting: Answer,
  answer: (command: FakeCommand) => Answer,
): Promise<string> {
  const path = join(await temporaryFolder(), 's');
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    give(socket, greeting);
    let rest = '';
    socket.setEncoding('latin1').on('data', (text: string) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      for (const line of lines) give(socket, answer(JSON.parse(line.replace(/^\xff*/, '')) as FakeCommand));
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return path;
}

function give(socket: Socket, answer: Answer): void {
  if (answer === END) socket.end();
  else if (answer !== SILENCE) socket.write(answer);
}
