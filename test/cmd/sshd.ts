import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { userInfo } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { temporaryFolder } from '../block/temporary-folder.ts';

/** Where Debian has it, which is not in the PATH of every user. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

/** Of its own, without which sshd does not run as root. */
const SEPARATION_FOLDER = '/run/sshd';

const ATTEMPTS = 100;

/** An OpenSSH server on this machine, for one test. */
export interface Sshd {
  /** `ssh://user@127.0.0.1:port` */
  readonly url: string;
  /** The variables that make git go there with the key that is let in. */
  readonly environment: { readonly GIT_SSH_COMMAND: string };
  /** The same with a key that nobody lets in. */
  readonly strangerEnvironment: { readonly GIT_SSH_COMMAND: string };
  /** The same for who has never seen the server's own key. */
  readonly newcomerEnvironment: { readonly GIT_SSH_COMMAND: string };
}

/** Starts a server that lets this user in by a key. @returns why there is none, where it cannot be had */
export async function startSshd(): Promise<Sshd | string> {
  const program = findSshd();
  if (program === undefined) return 'sshd is not installed (Debian: openssh-server)';
  const folder = await temporaryFolder();
  await chmod(folder, 0o700);
  if (process.getuid?.() === 0) {
    if (spawnSync('getent', ['passwd', 'sshd']).status !== 0)
      return 'there is no user sshd, as whom a part of sshd runs';
    mkdirSync(SEPARATION_FOLDER, { recursive: true, mode: 0o755 });
  }
  for (const name of ['host', 'user', 'stranger']) makeKey(join(folder, name));
  const port = await freePort();
  await mkdir(join(folder, 'home'));
  await writeFile(join(folder, 'config'), await settings(folder, port));
  await writeFile(
    join(folder, 'known'),
    `[127.0.0.1]:${port} ${await readFile(join(folder, 'host.pub'), 'utf8')}`,
  );
  await writeFile(join(folder, 'nobody-known'), '');
  // It ends with this process, even when that is killed.
  const through = ['--pdeathsig', 'KILL', program, '-D', '-e', '-f', join(folder, 'config')];
  const child = spawn('setpriv', through, { stdio: ['ignore', 'ignore', 'pipe'] });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill();
    await once(child, 'exit');
  });
  const said: Buffer[] = [];
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk));
  const environment = (key: string, known: string) => ({ GIT_SSH_COMMAND: sshCommand(folder, key, known) });
  const { username } = userInfo();
  if (!(await listens(port, child))) return `sshd does not start: ${textOf(said)}`;
  const own = environment('user', 'known');
  const login = spawnSync('sh', ['-c', `${own.GIT_SSH_COMMAND} -p ${port} ${username}@127.0.0.1 true`]);
  if (login.status !== 0)
    return `sshd lets ${username} not in: ${login.stderr.toString().trim()}; ${textOf(said)}`;
  return {
    url: `ssh://${username}@127.0.0.1:${port}`,
    environment: own,
    strangerEnvironment: environment('stranger', 'known'),
    newcomerEnvironment: environment('user', 'nobody-known'),
  };
}

function findSshd(): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), ...SYSTEM_FOLDERS];
  // It starts itself anew for each connection, by its full path.
  return folders
    .map((folder) => join(folder, 'sshd'))
    .find((path) => path.startsWith('/') && isProgram(path));
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function makeKey(path: string): void {
  const { status, stderr } = spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path]);
  if (status !== 0) throw new Error(stderr.toString());
}

/** Nothing of the machine's own server. */
async function settings(folder: string, port: number): Promise<string> {
  await writeFile(join(folder, 'authorized'), await readFile(join(folder, 'user.pub')));
  const lines = [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${join(folder, 'host')}`,
    `AuthorizedKeysFile ${join(folder, 'authorized')}`,
    'PidFile none',
    'UsePAM no',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PermitRootLogin prohibit-password',
    // The folder for temporary files above may be written to by all.
    'StrictModes no',
    'AcceptEnv GIT_PROTOCOL',
  ];
  return `${lines.join('\n')}\n`;
}

function sshCommand(folder: string, key: string, known: string): string {
  const options = [
    `IdentityFile=${join(folder, key)}`,
    'IdentitiesOnly=yes',
    'IdentityAgent=none',
    `UserKnownHostsFile=${join(folder, known)}`,
    'GlobalKnownHostsFile=/dev/null',
    'StrictHostKeyChecking=yes',
    'BatchMode=yes',
  ];
  return `ssh -F none ${options.map((option) => `-o ${option}`).join(' ')}`;
}

async function listens(port: number, child: ChildProcess): Promise<boolean> {
  for (let attempt = 0; attempt < ATTEMPTS && child.exitCode === null; attempt++) {
    const socket = connect(port, '127.0.0.1');
    const isUp = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (isUp) return true;
    await sleep(50);
  }
  return false;
}

function textOf(said: readonly Buffer[]): string {
  return Buffer.concat(said).toString().trim().split('\n').slice(-3).join('; ');
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { readonly port: number };
  server.close();
  await once(server, 'close');
  return port;
}
