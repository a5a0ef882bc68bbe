import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { type NbdExport, NbdServer, nbdUri } from '../../../../nbd/index.ts';
import { DiskSource, findDisk, readVersion, resolveCommit } from '../../../../store/index.ts';
import { noise, qemuImg, qemuIo } from '../../../qcow2/qemu.ts';
import { git } from '../../git.ts';
import { readBack } from '../../read-back.ts';
import { type SessionPlace, sessionPlace } from './places.ts';

const run = promisify(execFile);
const MIB = 2 ** 20;

interface Served extends SessionPlace {
  readonly server: NbdServer;
  readonly uri: (name: string) => string;
  readonly io: (name: string, ...commands: readonly string[]) => Promise<void>;
}

/** Serves the sessions of a store, and its versions by their ids for reading. */
async function served(bytes: Uint8Array): Promise<Served> {
  const place = await sessionPlace(bytes, 65536);
  const { store } = place;
  const socket = place.file('nbd.sock');
  const address = { path: socket };
  const sessions = await place.again({ address });
  const readOnly = async (name: string): Promise<NbdExport> => {
    const disk = findDisk(readVersion(store.objects, await resolveCommit(store, name)), undefined);
    const source = new DiskSource(store.objects, disk);
    return {
      name,
      size: source.size,
      readOnly: true,
      blockSize: { minimum: 1, preferred: 65536, maximum: 32 * MIB },
      multiConnection: true,
      read: (offset, into) => source.read(offset, into),
      extents: (offset, length) => source.extents(offset, length),
      release: async () => {},
    };
  };
  const server = await NbdServer.listen(
    {
      async *list() {},
      // A version is served whether sessions are closed or not.
      open: async (name) =>
        (/^[0-9a-f]{64}$/.test(name) ? undefined : await sessions.export(name)) ?? readOnly(name),
    },
    { socket },
  );
  onTestFinished(() => server.close());
  const uri = (exportName: string) => nbdUri({ address, exportName });
  const io = async (name: string, ...commands: readonly string[]) => {
    const list = commands.flatMap((command) => ['-c', command]);
    const { stdout, stderr } = await run('qemu-io', ['-d', 'unmap', ...list, '-f', 'raw', uri(name)]);
    if (/failed|error/i.test(stdout + stderr)) throw new Error(stdout + stderr);
  };
  return { ...place, sessions, server, uri, io };
}

test('sessions take what qemu-io writes, zeros, discards and flushes, and show it to every client', async () => {
  const bytes = Buffer.concat([noise(4 * MIB, 1), Buffer.alloc(4 * MIB)]);
  const { io, uri, sessions, store, path, ...place } = await served(bytes);
  const model = Buffer.from(bytes);
  await io(
    'web',
    'write -P 7 1000 200000',
    'write -z 1M 300k',
    'discard 2M 1M',
    'flush',
    'write -P 8 5M 64k',
  );
  model
    .fill(7, 1000, 201000)
    .fill(0, MIB, MIB + 300 * 1024)
    .fill(0, 2 * MIB, 3 * MIB);
  model.fill(8, 5 * MIB, 5 * MIB + 65536);
  await run('nbdcopy', [uri('web'), place.file('out.raw')]);
  expect(readFileSync(place.file('out.raw')).equals(model)).toBe(true);
  const map = JSON.parse((await run('nbdinfo', ['--map', '--json', uri('web')])).stdout) as {
    readonly offset: number;
    readonly length: number;
    readonly type: number;
  }[];
  const typeAt = (offset: number) => map.find((each) => offset < each.offset + each.length)!.type;
  // 0 is data, 2 zeros, 3 a hole of zeros.
  expect([0, MIB + 65536, 2 * MIB, 4 * MIB, 5 * MIB, 6 * MIB].map(typeAt)).toEqual([0, 2, 2, 3, 0, 3]);
  const made = await sessions.commit('web');
  expect((await readBack(store, 'web')).equals(model)).toBe(true);
  // 4 clusters of the first write, 1 of the zeros that begin or end within one, 1 of the last.
  expect(made).toMatchObject({ readBytes: 6 * 65536 });
  await qemuImg('compare', '-f', 'raw', '-F', 'raw', uri('web'), uri(made.commit));
  await git(path, 'fsck', '--full', '--strict');
});

test('sessions take all of a disk from nbdcopy, over several connections', async () => {
  const bytes = noise(32 * MIB, 1);
  const { uri, sessions, store, file } = await served(bytes);
  const other = Buffer.concat([noise(16 * MIB, 2), Buffer.alloc(8 * MIB), noise(8 * MIB, 3)]);
  writeFileSync(file('other.raw'), other);
  await run('nbdcopy', ['--flush', '--connections=4', file('other.raw'), uri('web')]);
  await sessions.commit('web');
  expect((await readBack(store, 'web')).equals(other)).toBe(true);
});

test("QEMU reads and writes a session's overlay on the export of its version when no session has it open", async () => {
  const bytes = noise(2 * MIB, 1);
  const { io, uri, sessions, overlay, file, again } = await served(bytes);
  await io('web', 'write -P 9 0 1M');
  // The server has its locks meanwhile.
  await expect(qemuImg('info', overlay)).rejects.toThrow(/lock/);
  const info = JSON.parse(await qemuImg('info', '-U', '--output=json', overlay));
  const base = (await sessions.list())[0]!.base;
  expect(info).toMatchObject({ 'backing-filename': uri(base), 'backing-filename-format': 'raw' });
  await sessions.close();
  const later = await again({ address: { path: file('nbd.sock') } });
  await qemuImg('convert', '-f', 'qcow2', '-O', 'raw', overlay, file('out.raw'));
  expect(readFileSync(file('out.raw')).equals(Buffer.from(bytes).fill(9, 0, MIB))).toBe(true);
  await qemuIo(overlay, 'write -P 5 1M 64k', 'discard 0 64k');
  await qemuImg('check', '-q', overlay);
  const web = (await later.export('web'))!;
  const read = Buffer.alloc(bytes.length);
  await web.read(0, read);
  expect(
    read.equals(
      Buffer.from(bytes)
        .fill(9, 0, MIB)
        .fill(0, 0, 65536)
        .fill(5, MIB, MIB + 65536),
    ),
  ).toBe(true);
  await web.release();
});

test('commitSession stores states that a writer over NBD had, while it writes', async () => {
  // Each write goes to the first cluster and then, after a flush of it, to the last.
  const { sessions, store, io } = await served(Buffer.alloc(8 * MIB, 1));
  await io('web', 'write -P 1 0 4k');
  let isOver = false;
  const writer = (async () => {
    for (let value = 2; !isOver; value = value === 255 ? 2 : value + 1)
      await io('web', `write -P ${value} 0 4k`, 'flush', `write -P ${value} ${8 * MIB - 4096} 4k`);
  })();
  const seen = new Set<number>();
  for (let i = 0; i < 20; i++) {
    await sessions.commit('web');
    const bytes = await readBack(store, 'web');
    const [first, last] = [bytes[0]!, bytes[8 * MIB - 4096]!];
    expect([last, last === 255 ? 2 : last + 1]).toContain(first);
    expect(bytes.subarray(0, 4096).every((byte) => byte === first)).toBe(true);
    seen.add(first);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  isOver = true;
  await writer;
  expect(seen.size).toBeGreaterThan(1);
});
