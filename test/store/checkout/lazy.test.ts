import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { describe, expect, test, vi } from 'vitest';
import {
  BRANCHES,
  checkoutLazily,
  checkoutVersion,
  collectGarbage,
  commitVersion,
  compare,
  createTag,
  deleteRef,
  describeDisk,
  forgetVersions,
  type LazyCheckoutRequest,
  rebaseOverlay,
} from '../../../store/index.ts';
import { TYPE_ORIGIN } from '../../../store/origin/extension.ts';
import { createOverlay, qemuBytes, qemuCheck, qemuImg, qemuIo } from '../../qcow2/qemu.ts';
import { diskOf } from '../disks.ts';
import { git } from '../git.ts';
import { commitBytes, newStore, reopen, SMALL, settle, type TestStore } from '../new-store.ts';
import { readBack } from '../read-back.ts';
import { qemuServes } from '../serve/qemu-serves.ts';

const DISK = diskOf([1, 2, 3, 0, 5, 6, 7, 0]);

interface Place extends TestStore {
  readonly overlay: string;
  /** The version that it stands on. */
  readonly base: string;
  /** Starts a server that shows that version. */
  readonly serve: () => ReturnType<typeof qemuServes>;
}

/** A store with a version, and an overlay on the export that shows it. */
async function place(bytes = DISK, request: Partial<LazyCheckoutRequest> = {}): Promise<Place> {
  const made = await newStore();
  await commitBytes(made, 'web', bytes);
  const base = await git(made.path, 'rev-parse', 'web');
  const overlay = made.file('work.qcow2');
  await checkoutLazily(made.store, { revision: 'web', output: overlay, ...request });
  const serve = async () => {
    const raw = made.file('served.raw');
    writeFileSync(raw, bytes);
    return qemuServes(raw, base, request.socket ?? `${made.path}/imgstore/nbd.sock`);
  };
  return { ...made, overlay, base, serve };
}

function commit({ store, overlay }: Place, options: { storedBase?: string; branch?: string } = {}) {
  return commitVersion(store, { disks: [{ name: 'vda', path: overlay }], branch: 'vm', ...options });
}

describe('what is written', () => {
  test('checkoutLazily names the export of just this version, which QEMU opens when a server shows it', async () => {
    const made = await place();
    const info = JSON.parse(await qemuImg('info', '--output=json', made.overlay));
    const socket = `${made.path}/imgstore/nbd.sock`;
    expect(info).toMatchObject({
      'backing-filename': `nbd+unix:///${made.base}?socket=${socket}`,
      'backing-filename-format': 'raw',
      'virtual-size': DISK.length,
    });
    expect((await describeDisk(made.overlay)).origin).toMatchObject({
      commit: made.base,
      disk: 'vda',
      base: { commit: made.base, disk: 'vda' },
    });
    await made.serve();
    expect((await qemuBytes(made.overlay)).equals(DISK)).toBe(true);
    await qemuIo(made.overlay, 'write -P 7 5k 2k', 'read -P 7 5k 2k');
    await qemuImg('compare', '-q', '-f', 'raw', '-F', 'qcow2', made.file('web.raw'), made.overlay).then(
      () => expect.unreachable(),
      (error) => expect(error.code).toBe(1),
    );
    await qemuCheck(made.overlay);
  });

  test('checkoutLazily reads as many objects for a disk of 1 TiB as for a small one', async () => {
    const made = await newStore(65536);
    for (const [branch, size] of [
      ['small', 2 ** 30],
      ['large', 2 ** 40],
    ] as const) {
      const path = made.file(`${branch}.raw`);
      const file = await open(path, 'w');
      await file.truncate(size);
      for (let i = 0; i < 64; i++) await file.write(Buffer.alloc(4096, i + 1), 0, 4096, (i * size) / 64);
      await file.close();
      await commitVersion(made.store, { disks: [{ name: 'vda', path }], branch });
    }
    const { objects } = made.store;
    const readAs = vi.spyOn(objects, 'readAs');
    const header = vi.spyOn(objects, 'header');
    const reads = async (revision: string) => {
      readAs.mockClear();
      header.mockClear();
      const output = made.file(`${revision}.qcow2`);
      const { virtualSize, writtenBytes } = await checkoutLazily(made.store, { revision, output });
      return { virtualSize, writtenBytes, objects: readAs.mock.calls.length + header.mock.calls.length };
    };
    const small = await reads('small');
    const large = await reads('large');
    // The map of the larger disk has a level more, and the paths to its first cluster and to its end are read.
    expect(large).toMatchObject({ virtualSize: 2 ** 40, writtenBytes: 65536 });
    expect(large.objects - small.objects).toBeLessThanOrEqual(2);
    expect(large.objects).toBeLessThan(16);
    const socket = `${made.path}/imgstore/nbd.sock`;
    await qemuServes(made.file('large.raw'), await git(made.path, 'rev-parse', 'large'), socket);
    await qemuImg(
      'compare',
      '-q',
      '-f',
      'raw',
      '-F',
      'qcow2',
      made.file('large.raw'),
      made.file('large.qcow2'),
    );
    await qemuCheck(made.file('large.qcow2'));
  });

  test('checkoutLazily writes a disk whose size is no multiple of a sector, and one of zeros', async () => {
    for (const bytes of [DISK.subarray(0, DISK.length - SMALL - 1000), Buffer.alloc(3 * SMALL)]) {
      const made = await place(bytes);
      const { stop } = await made.serve();
      expect((await qemuBytes(made.overlay)).subarray(0, bytes.length).equals(bytes)).toBe(true);
      await stop();
      // A qcow2 has whole sectors, as any checkout.
      expect((await commit(made)).unchanged).toBe(bytes.length % 512 === 0);
    }
  });

  test('checkoutLazily escapes what a URI cannot have in the path of a socket', async () => {
    const made = await newStore();
    mkdirSync(made.file('a b&c%20;+é'));
    const socket = made.file('a b&c%20;+é/s=#?');
    await commitBytes(made, 'web', DISK);
    const overlay = made.file('work.qcow2');
    await checkoutLazily(made.store, { revision: 'web', output: overlay, socket });
    await qemuServes(made.file('web.raw'), await git(made.path, 'rev-parse', 'web'), socket);
    expect((await qemuBytes(overlay)).equals(DISK)).toBe(true);
  });

  test('checkoutLazily names the disk too, of a version with several', async () => {
    const made = await newStore();
    writeFileSync(made.file('a.raw'), DISK);
    writeFileSync(made.file('b.raw'), DISK.subarray(SMALL));
    const disks = ['a', 'b'].map((name) => ({ name, path: made.file(`${name}.raw`) }));
    const { commit: base } = await commitVersion(made.store, { disks, branch: 'web' });
    const overlay = made.file('work.qcow2');
    await expect(checkoutLazily(made.store, { revision: 'web', output: overlay })).rejects.toMatchObject({
      code: 'USAGE',
    });
    const { backing } = await checkoutLazily(made.store, { revision: 'web', output: overlay, disk: 'b' });
    expect(backing).toContain(`nbd+unix:///${base}%3Ab?socket=`);
    await qemuServes(made.file('b.raw'), `${base}:b`, `${made.path}/imgstore/nbd.sock`);
    expect((await qemuBytes(overlay)).equals(DISK.subarray(SMALL))).toBe(true);
  });

  test('checkoutLazily refuses the path of a socket that is longer than the system takes, and takes one that is not', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', DISK);
    const output = made.file('work.qcow2');
    const tooLong = checkoutLazily(made.store, { revision: 'web', output, socket: `/${'x'.repeat(107)}` });
    await expect(tooLong).rejects.toMatchObject({
      code: 'USAGE',
      message: expect.stringMatching(/107 bytes at most, this one 108: .*--socket/),
    });
    expect(existsSync(output)).toBe(false);
    await checkoutLazily(made.store, { revision: 'web', output, socket: `/${'é'.repeat(53)}` });
    expect((await describeDisk(output)).qcow2?.backingFile).toContain('%C3%A9'.repeat(53));
  });

  test('checkoutLazily leaves what is in the way, unless it is forced', async () => {
    const made = await place();
    const before = readFileSync(made.overlay);
    const again = { revision: 'web', output: made.overlay };
    await expect(checkoutLazily(made.store, again)).rejects.toMatchObject({ code: 'EXISTS' });
    expect(readFileSync(made.overlay).equals(before)).toBe(true);
    await checkoutLazily(made.store, { ...again, force: true });
    await expect(
      checkoutLazily(made.store, { revision: 'web', output: `${made.path}/work.qcow2` }),
    ).rejects.toMatchObject({ code: 'USAGE' });
  });
});

describe('what is read without a server', () => {
  test('commitVersion reads only what the overlay holds, and the version becomes the parent', async () => {
    const made = await place();
    const { stop } = await made.serve();
    await qemuIo(made.overlay, 'write -P 7 5k 2k', 'write -z 20k 4k');
    const expected = await qemuBytes(made.overlay);
    await stop();
    await settle();
    const notices: string[] = [];
    const request = { disks: [{ name: 'vda', path: made.overlay }], branch: 'vm' };
    const result = await commitVersion(made.store, request, { onNotice: (text) => notices.push(text) });
    expect(notices).toEqual([]);
    expect(result.parents).toEqual([made.base]);
    // The cluster that was written to, and the one that every overlay has an entry for.
    expect(result.disks[0]).toMatchObject({ newClusters: 1, readBytes: 2 * SMALL });
    expect((await readBack(made.store, 'vm')).equals(expected)).toBe(true);
    const compared = await compare(made.store, { revision: 'vm', other: made.overlay });
    expect(compared).toMatchObject({ identical: true });
    expect(await commit(made)).toMatchObject({ unchanged: true, disks: [{ readBytes: 0 }] });
    expect(await git(made.path, 'fsck', '--strict', '--no-dangling')).toBe('');
  });

  test('commitVersion reads an overlay on one that stands on an export', async () => {
    const made = await place();
    const { stop } = await made.serve();
    await qemuIo(made.overlay, 'write -P 7 5k 2k');
    const top = made.file('top.qcow2');
    await createOverlay(top, 'work.qcow2');
    await qemuIo(top, 'write -P 8 6k 2k');
    const expected = await qemuBytes(top);
    await stop();
    await commitVersion(made.store, { disks: [{ name: 'vda', path: top }], branch: 'vm' });
    expect((await readBack(made.store, 'vm')).equals(expected)).toBe(true);
  });

  test('rebaseOverlay puts an overlay on an export onto a file', async () => {
    const made = await place();
    const { stop } = await made.serve();
    await qemuIo(made.overlay, 'write -P 7 5k 2k');
    const expected = await qemuBytes(made.overlay);
    await stop();
    await commitBytes(made, 'web', diskOf([1, 2, 9, 4, 0, 6, 7, 0]));
    await rebaseOverlay(made.store, { overlay: made.overlay, onto: 'web' });
    expect((await qemuBytes(made.overlay)).equals(expected)).toBe(true);
    await qemuCheck(made.overlay);
  });

  test('commitVersion says so when the version is gone', async () => {
    const made = await place();
    await commitBytes(made, 'other', DISK.subarray(SMALL));
    await deleteRef(made.store, BRANCHES, 'web');
    await expect(commit(made)).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringMatching(
        new RegExp(`no branch and no tag leads any more: .*'imgstore tag NAME ${made.base}'`),
      ),
    });
    await createTag(made.store, 'kept', made.base);
    expect((await commit(made)).parents).toEqual([]);
    expect(await git(made.path, 'rev-parse', 'vm')).toBe(made.base);
  });

  test('commitVersion finds the version under the id that it has since earlier ones were forgotten', async () => {
    const made = await newStore();
    await commitBytes(made, 'web', diskOf([9]));
    await commitBytes(made, 'web', DISK);
    const overlay = made.file('work.qcow2');
    await checkoutLazily(made.store, { revision: 'web', output: overlay });
    const before = await git(made.path, 'rev-parse', 'web');
    await forgetVersions(made.store, { revisions: ['web~1'] });
    await collectGarbage(made.store, { prune: 'now' });
    const after = await git(made.path, 'rev-parse', 'web');
    expect(after).not.toBe(before);
    const disks = [{ name: 'vda', path: overlay }];
    const result = await commitVersion(await reopen(made.path), { disks, branch: 'vm' });
    expect(result).toMatchObject({ commit: after, unchanged: true });
  });

  test('commitVersion keeps no track of an overlay on an export, and says so', async () => {
    const made = await place();
    const notices: string[] = [];
    const request = { disks: [{ name: 'vda', path: made.overlay }], branch: 'vm', track: true };
    await commitVersion(made.store, request, { onNotice: (text) => notices.push(text) });
    expect(notices.join()).toContain('cannot be kept track of');
    expect((await commit(made)).unchanged).toBe(true);
  });
});

describe('what is not believed', () => {
  /** Overwrites the overlay's header. */
  function forge({ overlay }: Place, change: (header: Buffer) => void): void {
    const bytes = readFileSync(overlay);
    change(bytes);
    writeFileSync(overlay, bytes);
  }

  test.each<[string, (header: Buffer, place: Place) => void, string]>([
    [
      'a claim that this store did not seal',
      (header, { base }) => {
        const at = header.indexOf(Buffer.from(base, 'hex'));
        header[at + 33]! ^= 1;
      },
      'this store did not write that',
    ],
    [
      'a claim under another export',
      (header, { base }) => {
        const at = header.lastIndexOf(`nbd+unix:///${base}`);
        header.write('0', at + 'nbd+unix:///'.length);
        header.write('1', at + 'nbd+unix:///'.length + 1);
      },
      'the image was put onto another backing file since',
    ],
    [
      'a header without a claim',
      (header) => {
        const type = Buffer.alloc(4);
        type.writeUInt32BE(TYPE_ORIGIN);
        header.write('XXXX', header.indexOf(type), 'latin1');
      },
      'pass --stored-base with the version that it shows',
    ],
  ])(
    'commitVersion refuses %s, connects to nobody, and takes the user at their word',
    async (_, change, part) => {
      const made = await place();
      forge(made, (header) => change(header, made));
      const server = await made.serve();
      await expect(commit(made)).rejects.toMatchObject({
        code: 'FORBIDDEN',
        message: expect.stringMatching(new RegExp(`${part}.*`)),
      });
      await expect(commit(made)).rejects.toThrow('--stored-base');
      await server.stop();
      await commit(made, { storedBase: 'web' });
      expect((await readBack(made.store, 'vm')).equals(DISK)).toBe(true);
    },
  );

  test.each([
    'nbd://127.0.0.1:9/x',
    'nbd+unix:///x?socket=/nowhere',
    'nbds://host/x',
    'NBD+UNIX:///x?socket=/n',
  ])('commitVersion does not follow an image to %s', async (name) => {
    const made = await place();
    const foreign = made.file('foreign.qcow2');
    await qemuImg('create', '-q', '-u', '-f', 'qcow2', '-b', name, '-F', 'raw', foreign, `${DISK.length}`);
    const request = { disks: [{ name: 'vda', path: foreign }], branch: 'vm' };
    await expect(commitVersion(made.store, request)).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringContaining('pass --stored-base'),
    });
  });

  test('commitVersion of another store does not believe an overlay', async () => {
    const made = await place();
    const other = await place(diskOf([9, 9]));
    await expect(commit({ ...made, store: other.store })).rejects.toThrow('this store did not write that');
  });

  test('commitVersion does not believe an overlay that was emptied into its export', async () => {
    const made = await place();
    await made.serve();
    await qemuImg('rebase', '-u', '-b', made.file('served.raw'), '-F', 'raw', made.overlay);
    await qemuImg('commit', '-q', made.overlay);
    const { backing } = await checkoutLazily(made.store, { revision: 'web', output: made.file('x.qcow2') });
    await qemuImg('rebase', '-u', '-b', backing!, '-F', 'raw', made.overlay);
    await expect(commit(made)).rejects.toThrow('--stored-base');
  });

  test('checkoutVersion does not stand on an overlay whose export it would have to ask', async () => {
    const made = await place();
    const request = { revision: 'web', output: made.file('top.qcow2'), backing: { file: made.overlay } };
    await expect(checkoutVersion(made.store, request)).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });
});
