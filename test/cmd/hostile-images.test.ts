import { open, readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { deflateRawSync } from 'node:zlib';
import { compress as zstd } from '@cloudpss/zstd';
import { expect, test } from 'vitest';
import { TYPE_DATA_FILE } from '../../qcow2/meta/extensions.ts';
import { encodeHeader, type NewHeader } from '../../qcow2/meta/header-encode.ts';
import { copiedEntry } from '../../qcow2/meta/l2-entry.ts';
import { INCOMPATIBLE_AT } from '../../qcow2/meta/layout.ts';
import { noise } from '../qcow2/qemu.ts';
import { type Outcome, oneLine, Workplace } from './imgstore.ts';

const CLUSTER = 65536;
const MIB = 2 ** 20;
const INCOMPATIBLE_DATA_FILE = 4n;
const COMPRESSED = 1n << 62n;
/** What any image may cost. */
const MAX_MEMORY_BYTES = 300 * MIB;
const MAX_L1_ENTRIES = 2 ** 22;

/** An image of 1 MiB without clusters. */
function empty(changes: Partial<NewHeader> = {}): Buffer {
  const bytes = Buffer.alloc(3 * CLUSTER);
  bytes.set(
    encodeHeader({
      clusterBits: 16,
      virtualSize: MIB,
      l1Offset: CLUSTER,
      l1Entries: 1,
      refcountTableOffset: 2 * CLUSTER,
      refcountTableClusters: 1,
      backing: undefined,
      ...changes,
    }),
  );
  return bytes;
}

const over = (file: string, format = 'qcow2') => empty({ backing: { file, format } });

/** Runs imgstore, which must not use more memory than any image may cost. */
async function bounded(place: Workplace, ...args: readonly string[]): Promise<Outcome> {
  const report = place.path('memory');
  const hook = `import{isMainThread}from'node:worker_threads';import{writeFileSync}from'node:fs';if(isMainThread)process.on('exit',()=>writeFileSync(${JSON.stringify(report)},String(process.resourceUsage().maxRSS)))`;
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}` };
  const outcome = await place.start(args, { env }).finished;
  expect(Number(await readFile(report, 'utf8')) * 1024, args.join(' ')).toBeLessThan(MAX_MEMORY_BYTES);
  return outcome;
}

/** The one line with which committing an image fails. */
async function refusal(place: Workplace, image: string): Promise<string> {
  const outcome = await bounded(place, 'commit', image, '-b', 'hostile');
  expect(outcome.status, image).toBe(1);
  return oneLine(outcome);
}

/** Describes and checks an image: each says something, or what is wrong in one line. */
async function lookAt(place: Workplace, image: string): Promise<void> {
  for (const verb of ['info', 'check']) {
    const outcome = await bounded(place, verb, image);
    expect({
      verb,
      signal: outcome.signal,
      nothing: outcome.stdout === '' && oneLine(outcome) === '',
    }).toEqual({
      verb,
      signal: null,
      nothing: false,
    });
  }
}

test('commit refuses chains that come back to themselves', async () => {
  const place = await Workplace.withStore();
  await writeFile(place.path('self.qcow2'), over('self.qcow2'));
  await writeFile(place.path('a.qcow2'), over('b.qcow2'));
  await writeFile(place.path('b.qcow2'), over('a.qcow2'));
  await writeFile(place.path('link.qcow2'), over('other-name.qcow2'));
  await symlink('link.qcow2', place.path('other-name.qcow2'));
  await symlink('ring.qcow2', place.path('ring.qcow2'));
  await writeFile(place.path('ringed.qcow2'), over('ring.qcow2'));
  for (const image of ['self', 'a', 'link']) {
    expect(await refusal(place, `${image}.qcow2`)).toContain('it is a loop');
    await lookAt(place, `${image}.qcow2`);
  }
  expect(await refusal(place, 'ringed.qcow2')).toContain('ring.qcow2');
});

test('commit refuses a chain of 300 images, and opens one of 200', async () => {
  const place = await Workplace.withStore();
  for (let i = 0; i < 300; i++) {
    await writeFile(place.path(`${i}.qcow2`), i === 0 ? empty() : over(`${i - 1}.qcow2`));
  }
  expect(await refusal(place, '299.qcow2')).toBe(
    '299.qcow2: its chain of backing files is deeper than 200: flatten it with qemu-img convert',
  );
  expect((await bounded(place, 'commit', '199.qcow2')).status).toBe(0);
});

/** An image whose first cluster is a compressed stream. */
function packed(stream: Uint8Array, type: 'zlib' | 'zstd'): Buffer {
  const sectors = BigInt(Math.max(1, Math.ceil(stream.length / 512)) - 1);
  const bytes = Buffer.concat([
    empty({ compressionType: type }),
    Buffer.alloc(CLUSTER),
    stream,
    Buffer.alloc(CLUSTER - (stream.length % CLUSTER)),
  ]);
  bytes.writeBigUInt64BE(copiedEntry(3 * CLUSTER), CLUSTER);
  // 62 - (16 - 8) bits of offset.
  bytes.writeBigUInt64BE(COMPRESSED | (sectors << 54n) | BigInt(4 * CLUSTER), 3 * CLUSTER);
  return bytes;
}

test('commit refuses compressed clusters that inflate to too much, too little or not at all', async () => {
  const place = await Workplace.withStore();
  const full = noise(CLUSTER / 2, 1);
  const streams: readonly (readonly [string, Uint8Array])[] = [
    ['too much', Buffer.alloc(CLUSTER + 1, 1)],
    ['a thousand times too much', Buffer.alloc(1000 * CLUSTER, 1)],
    ['too little', Buffer.alloc(CLUSTER - 1, 1)],
    ['nothing', Buffer.alloc(0)],
  ];
  for (const [name, content] of streams) {
    await writeFile(place.path('zlib.qcow2'), packed(deflateRawSync(content, { windowBits: 12 }), 'zlib'));
    await writeFile(place.path('zstd.qcow2'), packed(zstd(Buffer.from(content)), 'zstd'));
    for (const type of ['zlib', 'zstd']) {
      expect(await refusal(place, `${type}.qcow2`), name).toMatch(
        /^z\w+\.qcow2: the compressed cluster .* does not decode: /,
      );
    }
  }
  for (const [type, stream] of [
    ['zlib', deflateRawSync(full).subarray(0, 1000)],
    ['zstd', Buffer.from(zstd(full)).subarray(0, 1000)],
    ['zlib', Buffer.alloc(1000, 0xff)],
    ['zstd', Buffer.alloc(1000, 0xff)],
  ] as const) {
    await writeFile(place.path('broken.qcow2'), packed(stream, type));
    await lookAt(place, 'broken.qcow2');
    expect(await refusal(place, 'broken.qcow2')).toContain('does not decode');
  }
  await writeFile(
    place.path('good.qcow2'),
    packed(deflateRawSync(Buffer.alloc(CLUSTER, 1), { windowBits: 12 }), 'zlib'),
  );
  await place.ok('commit', 'good.qcow2');
});

/** An image of `size` bytes with tables at offsets; all else is a hole. */
async function sparse(
  path: string,
  size: number,
  header: NewHeader,
  tables: Readonly<Record<number, Buffer>>,
): Promise<void> {
  await writeFile(path, encodeHeader(header));
  await truncate(path, size);
  const handle = await open(path, 'r+');
  for (const [at, bytes] of Object.entries(tables)) await handle.write(bytes, 0, bytes.length, Number(at));
  await handle.close();
}

/** A table of `count` entries. */
function table(count: number, entry: (index: number) => bigint): Buffer {
  const bytes = Buffer.alloc(count * 8);
  for (let i = 0; i < count; i++) bytes.writeBigUInt64BE(entry(i), i * 8);
  return bytes;
}

function hugeHeader(clusterBits: number, virtualSize: number, l1Entries: number): NewHeader {
  return {
    clusterBits,
    virtualSize,
    l1Offset: 2 ** clusterBits,
    l1Entries,
    refcountTableOffset: 0,
    refcountTableClusters: 1,
    backing: undefined,
  };
}

test('commit takes disks of petabytes in which nothing is', async () => {
  const place = await Workplace.withStore();
  await sparse(place.path('4p.qcow2'), 3 * 2 ** 21, hugeHeader(21, 2 ** 52, 8192), {});
  await sparse(place.path('128g.qcow2'), 2 ** 25 + 512, hugeHeader(9, 2 ** 37, MAX_L1_ENTRIES), {});
  for (const image of ['4p.qcow2', '128g.qcow2'])
    expect((await bounded(place, 'commit', image)).status).toBe(0);
});

test('commit refuses tables that claim more than their file can have', async () => {
  const place = await Workplace.withStore();
  const behind = 2 ** 25 + 512;
  const small = hugeHeader(9, 2 ** 37, MAX_L1_ENTRIES);
  const entries = table(MAX_L1_ENTRIES, () => BigInt(behind));
  for (const entry of [0n, 1n, BigInt(behind + 512)]) {
    await sparse(place.path('one-table.qcow2'), behind + 1024, small, {
      512: entries,
      [behind]: table(64, () => entry),
    });
    await lookAt(place, 'one-table.qcow2');
    expect(await refusal(place, 'one-table.qcow2')).toContain('names some of them twice');
  }
  const room = (MAX_L1_ENTRIES + 100_000) * 512;
  const spread = table(MAX_L1_ENTRIES, (i) => BigInt((i + 100_000) * 512));
  await sparse(place.path('in-holes.qcow2'), room, small, { 512: spread });
  await lookAt(place, 'in-holes.qcow2');
  expect(await refusal(place, 'in-holes.qcow2')).toContain('lie in its holes');
  const large = 2 ** 21;
  await sparse(place.path('one-cluster.qcow2'), 4 * large, hugeHeader(21, 2 ** 39, 1), {
    [large]: table(1, () => BigInt(2 * large)),
    [2 * large]: table(2 ** 18, () => BigInt(3 * large)),
    [3 * large]: Buffer.alloc(large, 7),
  });
  await lookAt(place, 'one-cluster.qcow2');
  expect(await refusal(place, 'one-cluster.qcow2')).toContain('name some clusters twice');
  await sparse(
    place.path('far.qcow2'),
    3 * CLUSTER,
    { ...hugeHeader(16, MIB, 1) },
    { [CLUSTER]: table(1, () => 2n ** 52n) },
  );
  await lookAt(place, 'far.qcow2');
  expect(await refusal(place, 'far.qcow2')).toContain('leaves the file');
});

/** An image whose data is in the file `name`. */
function withDataFile(name: string): Buffer {
  const bytes = empty({ virtualSize: 512, extensions: [{ type: TYPE_DATA_FILE, data: Buffer.from(name) }] });
  bytes.writeBigUInt64BE(INCOMPATIBLE_DATA_FILE, INCOMPATIBLE_AT);
  return bytes;
}

test('commit follows names of backing and data files only into folders that are allowed', async () => {
  const place = await Workplace.withStore();
  await symlink('/etc/passwd', place.path('link'));
  await symlink('/etc', place.path('folder'));
  const up = '../'.repeat(place.folder.split('/').length);
  const files = ['/etc/passwd', `${up}etc/passwd`, 'link', 'folder/passwd'];
  const protocols = [
    'json:{"driver":"file","filename":"/etc/passwd"}',
    'nbd:localhost:10809',
    'nbd://localhost/x',
    'file:/etc/passwd',
    'file:///etc/passwd',
  ];
  for (const name of [...files, ...protocols]) {
    for (const [role, image] of [
      ['backing file', over(name, 'raw')],
      ['data file', withDataFile(name)],
    ] as const) {
      await writeFile(place.path('image.qcow2'), image);
      const line = await refusal(place, 'image.qcow2');
      expect(line).toContain(`its ${role} ${JSON.stringify(name)} `);
      const allowed = await bounded(place, 'commit', 'image.qcow2', '--allow-backing', '/etc');
      expect({ name, role, status: allowed.status }).toEqual({
        name,
        role,
        status: files.includes(name) ? 0 : 1,
      });
    }
  }
});
