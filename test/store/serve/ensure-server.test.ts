import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { checkoutLazily } from '../../../store/index.ts';
import { ensureServer } from '../../../store/serve/ensure-server.ts';
import { qemuBytes } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, type TestStore } from '../new-store.ts';
import { fakeImgstore, serving } from './fake-imgstore.ts';
import { qemuServes } from './qemu-serves.ts';

const DISK = diskOf([1, 2, 3, 0, 5]);

async function storeWithWeb(): Promise<TestStore & { readonly id: string }> {
  const made = await newStore();
  await commitBytes(made, 'web', DISK);
  return { ...made, id: await git(made.path, 'rev-parse', 'web') };
}

test('checkoutLazily starts a server when none listens, and only then', async () => {
  const made = await storeWithWeb();
  const { command, pids } = fakeImgstore(made, serving(made.file('web.raw'), made.id));
  for (const name of ['a.qcow2', 'b.qcow2']) {
    await checkoutLazily(made.store, { revision: 'web', output: made.file(name), server: { command } });
    expect((await qemuBytes(made.file(name))).equals(DISK)).toBe(true);
  }
  expect(pids()).toHaveLength(1);
});

test('ensureServer comes out with one server when several ask at once', async () => {
  const made = await storeWithWeb();
  const listen = `require('node:net').createServer().listen(process.argv[1]).on('error', () => process.exit(1))`;
  const { command, pids } = fakeImgstore(made, `exec '${process.execPath}' -e "${listen}" "$socket"`);
  await Promise.all([1, 2, 3].map(() => ensureServer(made.store, made.file('s'), { command })));
  expect(pids()).toHaveLength(3);
  await ensureServer(made.store, made.file('s'), { command });
  expect(pids()).toHaveLength(3);
});

test('ensureServer ends a server that does not come to listen when it is interrupted', async () => {
  const made = await storeWithWeb();
  const { command, pids } = fakeImgstore(made, 'exec sleep 1000');
  const stop = new AbortController();
  const ensured = ensureServer(made.store, made.file('s'), { command }, { signal: stop.signal });
  while (pids().length === 0) await sleep(5);
  stop.abort();
  await expect(ensured).rejects.toMatchObject({ code: 'INTERRUPTED' });
  // Signalled already: it ends without the help of this test.
  const [pid] = pids();
  while (existsSync(`/proc/${pid}`)) await sleep(5);
});

test('ensureServer starts one where a server has left its socket behind', async () => {
  const made = await storeWithWeb();
  const socket = made.file('s');
  const { command } = fakeImgstore(made, serving(made.file('web.raw'), made.id));
  await (await qemuServes(made.file('web.raw'), 'x', socket)).stop();
  writeFileSync(socket, '');
  await ensureServer(made.store, socket, { command });
});

test.each([
  ['fails', 'echo "imgstore: web: is not well" >&2; exit 1', 'web: is not well'],
  ['is killed', 'kill -9 $$', 'earlier'],
])('checkoutLazily throws NBD when the server %s, and leaves no file', async (_, script, why) => {
  const made = await storeWithWeb();
  const { command } = fakeImgstore(made, `echo earlier >&2\n${script}`);
  const output = made.file('work.qcow2');
  // What was said another time is not the reason.
  writeFileSync(`${made.path}/imgstore/serve.log`, 'imgstore: long ago\n');
  await expect(
    checkoutLazily(made.store, { revision: 'web', output, server: { command } }),
  ).rejects.toMatchObject({
    code: 'NBD',
    message: expect.stringMatching(new RegExp(`the server did not start: ${why}: .*--no-serve$`)),
  });
  expect(existsSync(output)).toBe(false);
  expect(readFileSync(`${made.path}/imgstore/serve.log`, 'utf8')).toContain('long ago\nearlier\n');
});

test('ensureServer says how a server ended that said nothing, and what cannot be started', async () => {
  const made = await storeWithWeb();
  const { command } = fakeImgstore(made, 'exit 3');
  await expect(ensureServer(made.store, made.file('s'), { command })).rejects.toThrow(
    'it ended with exit code 3',
  );
  const missing = [made.file('nothing')];
  await expect(ensureServer(made.store, made.file('s'), { command: missing })).rejects.toMatchObject({
    code: 'NBD',
    message: expect.stringContaining('ENOENT'),
  });
});

test.each([
  ['that lacks the version', 'other', DISK, 'does not show version'],
  ['whose export has another size', '', DISK.subarray(512), 'has 19968 bytes, not 20480'],
])('checkoutLazily refuses a server %s, and leaves no file', async (_, name, bytes, why) => {
  const made = await storeWithWeb();
  writeFileSync(made.file('served.raw'), bytes);
  const socket = made.file('s');
  await qemuServes(made.file('served.raw'), name || made.id, socket);
  const output = made.file('work.qcow2');
  const request = { revision: 'web', output, socket, server: { command: ['/bin/false'] } };
  const refused = checkoutLazily(made.store, request);
  await expect(refused).rejects.toMatchObject({ code: 'NBD', message: expect.stringContaining(why) });
  await expect(refused).rejects.toThrow('name another with --socket');
  expect(existsSync(output)).toBe(false);
});
