import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { addRemote, Store } from '../../../store/index.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, reopen, type TestStore } from '../new-store.ts';

/** A new bare repository of stock git, in SHA-256 format. */
export async function bareRepository(): Promise<string> {
  const path = join(await temporaryFolder(), 'remote.git');
  const args = ['init', '-q', '--bare', '--object-format=sha256', '--initial-branch=web', path];
  const { status, stderr } = spawnSync('git', args);
  if (status !== 0) throw new Error(stderr.toString());
  return path;
}

/** A store with two versions of `web` and one of `db`, and a remote `origin`. */
export async function storeWithRemote(url: string): Promise<TestStore> {
  const made = await newStore();
  await commitBytes(made, 'db', diskOf([7, 8, 9]));
  await commitBytes(made, 'web', diskOf([1, 2, 3, 0, 4]));
  await commitBytes(made, 'web', diskOf([1, 2, 5, 0, 4]));
  await addRemote(made.store, 'origin', url);
  return { ...made, store: await reopen(made.path) };
}

/** Commits a disk in a store and opens it anew, as the next command would. */
export async function commitMore(
  { path, file }: TestStore,
  branch: string,
  plan: readonly number[],
): Promise<string> {
  const store = await reopen(path);
  return (await commitBytes({ store, path, file }, branch, diskOf(plan))).commit;
}

/** `name id` of the refs of a repository, by git. */
export async function refsOf(path: string, prefix = 'refs'): Promise<string[]> {
  const text = await git(path, 'for-each-ref', '--format=%(refname) %(objectname)', prefix);
  return text === '' ? [] : text.split('\n');
}

/** Temporary files and folders of fetches that a store has. */
export function leftovers(path: string): string[] {
  const names = readdirSync(path, { recursive: true }) as string[];
  return names.filter((name) => /tmp_|\.lock$|incoming|imgstore\/work\/./.test(name));
}

/** Serves the repositories of a folder by git's own CGI program, and returns the address. */
export async function serveByHttp(folder: string): Promise<string> {
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const child = spawn('git', ['http-backend'], {
      env: {
        ...process.env,
        GIT_PROJECT_ROOT: folder,
        GIT_HTTP_EXPORT_ALL: '1',
        GIT_CONFIG_COUNT: '1',
        GIT_CONFIG_KEY_0: 'http.receivepack',
        GIT_CONFIG_VALUE_0: 'true',
        REMOTE_USER: 'somebody',
        REQUEST_METHOD: request.method,
        PATH_INFO: decodeURIComponent(url.pathname),
        QUERY_STRING: url.search.slice(1),
        CONTENT_TYPE: request.headers['content-type'] ?? '',
        HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
        HTTP_GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      },
    });
    request.pipe(child.stdin);
    child.stdin.on('error', () => {});
    const chunks: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    child.on('close', () => {
      const all = Buffer.concat(chunks);
      const gap = all.indexOf('\r\n\r\n');
      for (const line of all.toString('latin1', 0, gap).split('\r\n')) {
        const [name, value] = line.split(/: */, 2);
        if (name === 'Status') response.statusCode = Number.parseInt(value!, 10);
        else if (name) response.setHeader(name, value ?? '');
      }
      response.end(all.subarray(gap + 4));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A filter that lets so many bytes pass as they come, and then does something else. `head` would keep them until it has all. */
export function cutAfter(bytes: number, then = ''): string {
  return `perl -e '$n = ${bytes}; while ($n > 0 && sysread(STDIN, $_, $n)) { $n -= length; syswrite(STDOUT, $_) } if ($n == 0) { ${then} }'`;
}

/** For {@link cutAfter}: says nothing more for as long as a test may take. */
export const STALL = 'sleep 300';

/**
 * Puts a program in the place of ssh that runs the command on this machine.
 * @param filter a shell command through which what the other side says goes
 * @returns the variables that make git use it
 */
export async function fakeSsh(
  filter = 'cat',
): Promise<{ readonly GIT_SSH: string; readonly GIT_SSH_VARIANT: string }> {
  const script = join(await temporaryFolder(), 'ssh');
  // The command is the last argument. Nothing holds the output open when the filter has ended.
  writeFileSync(script, `#!/bin/bash\nexec > >(${filter})\nexec sh -c "\${@: -1}"\n`);
  chmodSync(script, 0o755);
  return { GIT_SSH: script, GIT_SSH_VARIANT: 'simple' };
}

/** The same for what this process runs, until the test ends. */
export async function useFakeSsh(filter?: string): Promise<void> {
  for (const [name, value] of Object.entries(await fakeSsh(filter))) vi.stubEnv(name, value);
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
}

/** Opens a store that was made beside the test's own. */
export async function openStore(folder: string): Promise<Store> {
  const store = await Store.open(folder);
  onTestFinished(() => store.close());
  return store;
}
