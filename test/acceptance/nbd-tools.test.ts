import { execFile, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { Workplace } from '../cmd/imgstore.ts';
import { noise } from '../qcow2/qemu.ts';

const MIB = 2 ** 20;
/** nbdsh takes the first python3, and its package is for the system's own. */
const SYSTEM = { ...process.env, PATH: '/usr/bin:/bin' };
const run = async (command: string, ...args: readonly string[]) =>
  (await promisify(execFile)(command, args)).stdout;

/** 3 MiB of data, 2 of a hole, 1 of data and half a sector more. */
const DISK = Buffer.concat([noise(3 * MIB, 1), Buffer.alloc(2 * MIB), noise(MIB + 512, 2)]);

/** A server on a branch `web` with {@link DISK}, and a branch `db` of as many zeros. */
async function served(...args: readonly string[]) {
  const place = await Workplace.withStore();
  for (const [name, bytes] of [
    ['web', DISK],
    ['db', Buffer.alloc(DISK.length)],
  ] as const) {
    writeFileSync(place.path(`${name}.raw`), bytes);
    await place.ok('commit', `${name}.raw`);
  }
  await place.serve(...args);
  const uri = (name: string) => `nbd+unix:///${name}?socket=${place.path('.imgstore/imgstore/nbd.sock')}`;
  return { place, uri };
}

/** Bytes by the kind of extent that `nbdinfo --map --totals` prints. */
async function totals(uri: string): Promise<Record<string, number>> {
  const text = await run('nbdinfo', '--map', '--totals', uri);
  return Object.fromEntries(
    text
      .trim()
      .split('\n')
      .map((line) => {
        const [bytes, , , what] = line.trim().split(/\s+/);
        return [what!, Number(bytes)];
      }),
  );
}

test('nbdcopy copies a version out, a file in and one export to another, and what it wrote is committed', async () => {
  const { place, uri } = await served('--writable');
  await run('nbdcopy', uri('web'), place.path('out.raw'));
  expect(readFileSync(place.path('out.raw')).equals(DISK)).toBe(true);
  await run('nbdcopy', '--flush', uri('web'), uri('db'));
  await place.ok('session', 'commit', 'db');
  expect(await place.ok('compare', 'db', 'web')).toBe('identical\n');
  const other = Buffer.concat([Buffer.alloc(MIB), noise(2 * MIB, 3), DISK.subarray(3 * MIB)]);
  writeFileSync(place.path('other.raw'), other);
  // In smaller requests than clusters, and in larger ones.
  for (const size of [4096, 2 * MIB]) {
    await run('nbdcopy', '--flush', `--request-size=${size}`, place.path('other.raw'), uri('web'));
    await place.ok('session', 'commit', 'web');
    expect(await place.ok('compare', 'web', 'other.raw')).toBe('identical\n');
    await run('nbdcopy', uri('web~1'), uri('web'));
    await run('nbdcopy', `--request-size=${size}`, uri('web'), place.path('out.raw'));
    expect(readFileSync(place.path('out.raw')).equals(DISK)).toBe(true);
  }
});

test('nbdinfo --map --totals counts data, zeros and holes of a version and of what is written over it', async () => {
  const { place, uri } = await served('--writable');
  const hole = { 'hole,zero': 2 * MIB };
  expect(await totals(uri('web'))).toEqual({ data: 4 * MIB + 512, ...hole });
  expect(await totals(uri('db'))).toEqual({ 'hole,zero': DISK.length });
  await run('qemu-io', '-f', 'raw', '-c', 'write 3M 1M', '-c', 'write -z 0 1M', '-c', 'flush', uri('web'));
  const written = { data: 4 * MIB + 512, zero: MIB, 'hole,zero': MIB };
  expect(await totals(uri('web'))).toEqual(written);
  await place.ok('session', 'commit', 'web');
  expect(await totals(uri('web'))).toEqual(written);
  expect(await totals(uri(place.git('rev-parse', 'web')))).toEqual({
    data: 4 * MIB + 512,
    'hole,zero': 2 * MIB,
  });
});

const WRITE = `
buf = h.pread(4096, 0)
h.pwrite(buf, 3 * 1024 * 1024 + 100)
h.zero(65536, 65536)
h.trim(1024 * 1024, 1024 * 1024)
h.flush()
`;
const ASYNC = `
reads = []
for i in range(64):
    buf = nbd.Buffer(65536)
    reads.append((h.aio_pread(buf, i * 65536), buf))
for cookie, buf in reads:
    while not h.aio_command_completed(cookie):
        h.poll(-1)
import sys
sys.stdout.buffer.write(b"".join(bytes(buf.to_bytearray()) for _, buf in reads))
sys.stdout.flush()
`;
const REFUSED = `
try:
    h.pwrite(b"x" * 512, h.get_size(), flags=0)
except nbd.Error as error:
    print(error.errno)
print(h.is_read_only(), h.can_zero(), h.can_trim(), h.can_multi_conn(), h.pread(512, h.get_size() - 512) == b"\\0" * 512)
`;

test('nbdsh -c writes, zeros, trims and reads by many requests at once, and is told what cannot be done', async ({
  skip,
}) => {
  if (spawnSync('nbdsh', ['-c', 'nbd.NBD()'], { env: SYSTEM }).status !== 0)
    return skip('nbdsh (python3-libnbd) is not installed');
  const { place, uri } = await served('--writable');
  const nbdsh = async (name: string, ...scripts: readonly string[]) => {
    const args = ['-u', uri(name), ...scripts.flatMap((script) => ['-c', script])];
    const options = { encoding: 'buffer', env: SYSTEM, maxBuffer: 16 * MIB } as const;
    return (await promisify(execFile)('nbdsh', args, options)).stdout;
  };
  const model = Buffer.from(DISK);
  model.copy(model, 3 * MIB + 100, 0, 4096);
  model.fill(0, 65536, 2 * 65536).fill(0, MIB, 2 * MIB);
  expect((await nbdsh('web', WRITE, ASYNC)).equals(model.subarray(0, 4 * MIB))).toBe(true);
  await place.ok('session', 'commit', 'web');
  writeFileSync(place.path('model.raw'), model);
  expect(await place.ok('compare', 'web', 'model.raw')).toBe('identical\n');
  expect(String(await nbdsh('db', 'h.set_strict_mode(0)', REFUSED))).toBe(
    'ENOSPC\nFalse True True True True\n',
  );
  expect(String(await nbdsh('web~1', 'h.set_strict_mode(0)', REFUSED.replace(' == ', ' != ')))).toBe(
    'EPERM\nTrue False False True True\n',
  );
});
