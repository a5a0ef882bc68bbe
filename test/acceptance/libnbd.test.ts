import { execFile, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { Workplace } from '../cmd/imgstore.ts';
import { noise } from '../qcow2/qemu.ts';

const MIB = 2 ** 20;
const SCRIPT = fileURLToPath(new URL('random-client.py', import.meta.url));
/** Debian: python3-libnbd, for the system's own Python. */
const PYTHON = '/usr/bin/python3';
const hasLibnbd = spawnSync(PYTHON, ['-c', 'import nbd; nbd.NBD()']).status === 0;
const execute = promisify(execFile);

/** A server on a branch of data, zeros and holes, of an odd size. */
async function served(...args: readonly string[]) {
  const place = await Workplace.withStore();
  const raw = Buffer.concat([noise(3 * MIB, 1), Buffer.alloc(2 * MIB), noise(MIB + 512, 2)]);
  writeFileSync(place.path('web.raw'), raw);
  await place.ok('commit', 'web.raw');
  await place.serve(...args);
  const uri = `nbd+unix:///web?socket=${place.path('.imgstore/imgstore/nbd.sock')}`;
  const client = async (seed: number, ...options: readonly string[]) => {
    const { stdout } = await execute(PYTHON, [
      SCRIPT,
      uri,
      place.path('web.raw'),
      String(seed),
      '40',
      ...options,
    ]);
    return stdout;
  };
  return { place, client };
}

test.skipIf(!hasLibnbd)(
  'libnbd reads a version at odd offsets over several connections at once, in all ways that it knows',
  async () => {
    const { client } = await served();
    expect(await client(1)).toMatch('structured replies');
    expect(await client(2, 'plain')).toMatch('simple replies');
    expect(await client(3, 'fixed-only')).toMatch('structured replies');
  },
);

test.skipIf(!hasLibnbd)(
  'libnbd writes, zeros and trims a branch over several connections at once, and what it wrote is committed',
  async () => {
    const { place, client } = await served('--writable');
    await client(11);
    await place.ok('session', 'commit', 'web');
    expect(await place.ok('compare', 'web', 'web.raw')).toBe('identical\n');
    await client(12, 'plain', 'fixed-only');
    await place.ok('session', 'commit', 'web');
    expect(await place.ok('compare', 'web', 'web.raw')).toBe('identical\n');
  },
);
