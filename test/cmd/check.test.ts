import { open } from 'node:fs/promises';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { runCommandLine } from '../../cmd/run.ts';
import { qemuImg, qemuIo, tempFolder } from '../qcow2/qemu.ts';

const file = tempFolder();

afterEach(() => {
  vi.restoreAllMocks();
  process.exitCode = 0;
});

/** Runs imgstore in this process. */
async function imgstore(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const written = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    vi.spyOn(process[name], 'write').mockImplementation((text) => {
      written[name] += String(text);
      return true;
    });
  }
  process.exitCode = 0;
  const code = await runCommandLine(args);
  vi.restoreAllMocks();
  return { code, ...written };
}

async function image(name: string, change?: { at: number; value: bigint }): Promise<string> {
  await qemuImg('create', '-q', '-f', 'qcow2', file(name), '4M');
  await qemuIo(file(name), 'write 0 256k');
  if (change !== undefined) {
    const handle = await open(file(name), 'r+');
    const entry = Buffer.alloc(8);
    entry.writeBigUInt64BE(change.value);
    await handle.write(entry, 0, 8, change.at);
    await handle.close();
  }
  return file(name);
}

describe('imgstore check', () => {
  it('exits with 0 and says so when nothing is wrong', async () => {
    const { code, stdout, stderr } = await imgstore('check', await image('clean.qcow2'));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toBe(
      'clean: nothing is wrong with the image\n' +
        '4 of 64 clusters allocated (6.3%), 0 fragmented (0.0%), 0 compressed (0.0%)\n' +
        'image end offset: 589824\n',
    );
  });

  it('prints one JSON document with the names of qemu-img', async () => {
    const path = await image('clean.qcow2');
    const { code, stdout } = await imgstore('check', path, '--json');
    expect(code).toBe(0);
    const theirs = Object.entries(JSON.parse(await qemuImg('check', '--output=json', path)));
    const camel = (key: string) => key.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    expect(JSON.parse(stdout)).toMatchObject(Object.fromEntries(theirs.map(([k, v]) => [camel(k), v])));
    expect(JSON.parse(stdout)).toMatchObject({ verdict: 'clean', findings: [] });
  });

  it('exits with 2 when the image is corrupt', async () => {
    // The L1 table's first entry loses its copied flag.
    const path = await image('corrupt.qcow2', { at: 0x30000, value: 0x40000n });
    const { code, stdout } = await imgstore('check', path);
    expect(code).toBe(2);
    expect(stdout).toMatch(/^corruption: entry 0 of the L1 table.*no copied flag/);
    expect(stdout).toContain('corrupt: 1 contradiction, 0 leaked clusters: copy what can be read');
  });

  it('exits with 3 when room is lost', async () => {
    const path = await image('leaks.qcow2', { at: 0x40000, value: 0n });
    const { code, stdout } = await imgstore('check', path);
    expect(code).toBe(3);
    expect(stdout).toContain('leaks: 1 cluster is lost room; data is safe');
  });

  it('exits with 63 for a raw disk', async () => {
    await qemuImg('create', '-q', '-f', 'raw', file('disk.raw'), '1M');
    const { code, stdout, stderr } = await imgstore('check', file('disk.raw'), '--json');
    expect(code).toBe(63);
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'UNSUPPORTED' } });
    expect(stderr).toContain('is a raw disk, which has no metadata to check');
  });

  it('exits with 1 when the check cannot be done, also for a wrong command line', async () => {
    const broken = await image('broken.qcow2', { at: 0x10000, value: 0x20200n });
    expect((await imgstore('check', broken)).code).toBe(1);
    expect((await imgstore('check', file('nothing.qcow2'))).code).toBe(1);
    expect((await imgstore('check')).code).toBe(1);
    expect((await imgstore('check', broken, '--format', 'vmdk')).code).toBe(1);
  });

  it.each([[['-C', 'nowhere']], [['--store', '']], [['--frobnicate']]])(
    'exits with 1, which is not corrupt, when %j before the verb is wrong',
    async (options) => {
      const { code, stderr } = await imgstore(...options, 'check', await image('clean.qcow2'));
      expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^imgstore: [^\n]*\n$/) });
    },
  );

  it('tells its exit codes in the help', async () => {
    const { code, stdout } = await imgstore('check', '--help');
    expect(code).toBe(0);
    expect(stdout).toMatch(/0 clean, 1 the check could not be done, 2 corrupt,\s+3 leaks only, 63/);
  });
});
