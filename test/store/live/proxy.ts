import { connect, createServer, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** A command on its way: `before` QEMU has it, or `after` QEMU has done it and before imgstore hears of that. */
export type Moment = 'before' | 'after';

export interface Proxy {
  readonly path: string;
  /** Commands that came by, in order. */
  readonly commands: readonly string[];
}

/**
 * Stands between imgstore and a monitor, and does something at one command.
 * @param at number of the command from 1 on, or the name of one
 */
export async function startProxy(
  path: string,
  target: string,
  at: number | string,
  moment: Moment,
  act: () => Promise<void>,
): Promise<Proxy> {
  const commands: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const monitor = connect(target);
    let awaited: string | undefined;
    for (const [socket, other] of [[client, monitor] as const, [monitor, client] as const]) {
      sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => other.destroy());
    }
    eachLine(client, async (line) => {
      const { execute, id } = JSON.parse(line) as { execute: string; id: string };
      commands.push(execute);
      const isIt = commands.length === at || execute === at;
      if (isIt && moment === 'before') await act();
      if (isIt) awaited = id;
      monitor.write(`${line}\n`);
    });
    eachLine(monitor, async (line) => {
      if (moment === 'after' && awaited !== undefined && (JSON.parse(line) as { id?: string }).id === awaited)
        await act();
      client.write(`${line}\n`);
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { path, commands };
}

/** Lines one after the other: one waits for what is done with those before. */
function eachLine(socket: Socket, take: (line: string) => Promise<void>): void {
  let rest = '';
  let last = Promise.resolve();
  socket.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop()!;
    for (const line of lines) last = last.then(() => take(line));
  });
}
