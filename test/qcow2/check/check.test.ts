import { beforeAll, describe, expect, it } from 'vitest';
import { checkImage } from '../../../qcow2/index.ts';
import { qemuImg, qemuIo, tempFolder } from '../qemu.ts';
import { judge, MadeImage } from './made-image.ts';

const file = tempFolder();
const COPIED = 1n << 63n;
const COMPRESSED = 1n << 62n;

async function create(name: string, options: string, size: string, ...commands: string[]): Promise<string> {
  await qemuImg('create', '-q', '-f', 'qcow2', '-o', options, file(name), size);
  if (commands.length > 0) await qemuIo(file(name), ...commands);
  return file(name);
}

describe('images of QEMU', () => {
  it.each([
    ['compat=0.10'],
    ['cluster_size=512'],
    ['cluster_size=2M'],
    ['extended_l2=on,cluster_size=16k'],
    ['compression_type=zstd'],
    ['preallocation=full'],
    ['lazy_refcounts=on'],
    ...[1, 2, 4, 8, 16, 32, 64].map((bits) => [`refcount_bits=${bits}`]),
    ['data_file=clean.data,data_file_raw=on'],
  ])('are clean with %s, and counted as QEMU counts them', async (options) => {
    // No compressed cluster has a place that is kept for it.
    const packed = /data_file|preallocation/.test(options) ? [] : ['write -c -P 3 6M 2M'];
    const path = await create(
      'clean.qcow2',
      options,
      '9M',
      'write -P 1 100k 300k',
      'write -z 4M 1M',
      ...packed,
    );
    const { report, ours } = await judge(path, (await MadeImage.read(path)).bytes);
    expect(ours).toBe(0);
    expect(report).toMatchObject({ verdict: 'clean', findings: [], omittedFindings: 0 });
  });

  it('are clean with snapshots and bitmaps', async () => {
    const path = await create('more.qcow2', 'compat=1.1', '9M', 'write 0 3M');
    for (const [name, at] of [
      ['a', '4M'],
      ['b', '6M'],
    ] as const) {
      await qemuImg('snapshot', '-c', name, path);
      await qemuIo(path, 'write -P 2 64k 128k', `write -c -P 4 ${at} 128k`);
    }
    await qemuImg('bitmap', '--add', path, 'bits');
    await qemuIo(path, 'write -P 9 0 64k');
    expect((await judge(path, (await MadeImage.read(path)).bytes)).ours).toBe(0);
  });

  it('are clean when a LUKS header is in them', async () => {
    const secret = ['--object', 'secret,id=key,data=open'];
    const luks = 'encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10';
    await qemuImg('create', '-q', '-f', 'qcow2', ...secret, '-o', luks, file('luks.qcow2'), '4M');
    expect(await checkImage(file('luks.qcow2'))).toMatchObject({ verdict: 'clean' });
  });

  it('leak what a bitmap directory that is not consistent names', async () => {
    const path = await create('stale.qcow2', 'compat=1.1', '9M');
    await qemuImg('bitmap', '--add', path, 'bits');
    const image = await MadeImage.read(path);
    image.bytes.writeBigUInt64BE(0n, 88);
    expect((await judge(path, image.bytes)).ours).toBe(3);
  });
});

describe('a damaged image', () => {
  let path: string;
  let image: MadeImage;
  beforeAll(async () => {
    path = await create('source.qcow2', 'cluster_size=4k', '4M', 'write -P 1 0 128k', 'write -c -P 2 1M 16k');
  });

  /** Breaks the image, which both must then judge alike; expects an exit code and a message. */
  async function broken(code: number, message: RegExp | undefined, damage: (made: MadeImage) => void) {
    image = await MadeImage.read(path);
    damage(image);
    const both = await judge(file('broken.qcow2'), image.bytes);
    expect(both.ours).toBe(code);
    if (message !== undefined) {
      expect(both.report?.findings.map((finding) => finding.message).join('\n')).toMatch(message);
    }
    return both;
  }

  it('leaks a cluster whose refcount is above its references', () =>
    broken(3, /refcount 2 and 1 references/, (made) => {
      made.setRefcount(made.pointer(made.l2()) / 4096, 2);
      made.change(made.l2(), (entry) => entry & ~COPIED);
    }));

  it('leaks a cluster that nothing refers to', () =>
    broken(3, /refcount 1 and 0 references/, (made) => {
      made.change(made.l2(), () => 0n);
    }));

  it('is corrupt where a refcount is below the references', () =>
    broken(2, /refcount 0 and 1 references/, (made) => made.setRefcount(made.pointer(made.l2()) / 4096, 0)));

  it('is corrupt where the copied flag of an L2 entry is missing, or too many', async () => {
    await broken(2, /has no copied flag/, (made) => made.change(made.l2(), (entry) => entry & ~COPIED));
    await broken(2, /has the copied flag, but the refcount/, (made) => {
      made.setRefcount(made.pointer(made.l2()) / 4096, 2);
    });
  });

  it('is corrupt where the copied flag of an L1 entry is missing', () =>
    broken(2, /entry 0 of the L1 table.*no copied flag/, (made) =>
      made.change(made.l1(), (e) => e & ~COPIED),
    ));

  it('is corrupt where two entries share a cluster', () =>
    broken(2, /refcount 1 and 2 references/, (made) => {
      made.change(made.l2(1), () => made.bytes.readBigUInt64BE(made.l2()));
    }));

  it('is corrupt where two L1 entries share an L2 table', () =>
    broken(2, /and 2 references/, (made) => {
      made.change(made.l1(1), () => made.bytes.readBigUInt64BE(made.l1()));
    }));

  it('is corrupt where data lies upon metadata', async () => {
    await broken(2, /cluster 0 at offset 0 has refcount 1 and 2/, (made) => {
      made.change(made.l1(1), () => COPIED);
    });
    await broken(2, /and 2 references/, (made) => {
      made.change(made.l2(2), () => COPIED | BigInt(made.header.refcountTableOffset));
    });
    await broken(2, /block at offset \d+ that is not its own/, (made) => {
      made.change(made.l2(2), () => COPIED | BigInt(made.pointer(made.refcountTable())));
    });
  });

  it('is corrupt where an offset leaves the file', async () => {
    await broken(2, /leaves the file/, (made) => made.change(made.l2(3), (e) => e | (1n << 40n)));
    await broken(2, /leaves the file/, (made) => made.change(made.l1(), (e) => e | (1n << 55n)));
    await broken(2, /compressed cluster.*leaves the file/, (made) =>
      made.change(made.l2(256), () => COMPRESSED | (1n << 50n)),
    );
    await broken(2, /outside of the file/, (made) => made.change(made.refcountTable(1), () => 1n << 40n));
  });

  it('is corrupt where an offset is not a multiple of the cluster size', async () => {
    await broken(2, /not a multiple of 4096/, (made) => made.change(made.l2(3), (e) => e + 512n));
    // Where refcounts cannot be read at all, the check cannot be done, says QEMU.
    await broken(1, /cannot be read/, (made) => made.change(made.refcountTable(), (e) => e + 512n));
  });

  it('is corrupt where reserved bits are set', async () => {
    await broken(2, /L2 table.*reserved bits/, (made) => made.change(made.l2(3), (e) => e | (1n << 58n)));
    await broken(2, /L1 table.*reserved bits/, (made) => made.change(made.l1(), (e) => e | 4n));
    await broken(2, /refcount table has reserved bits/, (made) =>
      made.change(made.refcountTable(), (e) => e | 1n),
    );
  });

  it('is corrupt where a compressed cluster has the copied flag', () =>
    broken(2, /is compressed but has the copied flag/, (made) =>
      made.change(made.l2(256), (e) => e | COPIED),
    ));

  it('keeps the first hundred of many findings', async () => {
    const { report } = await broken(2, undefined, (made) => {
      for (let i = 0; i < 200; i++) made.change(made.l2(300 + i), () => 1n << 45n);
    });
    expect(report?.findings).toHaveLength(100);
    expect(report?.omittedFindings).toBe(100);
  });

  it('is judged when its file is cut off', async () => {
    for (const length of [4096, 9000, 70_000, 100_000]) {
      const { bytes } = await MadeImage.read(path);
      await judge(file('cut.qcow2'), bytes.subarray(0, length));
    }
  });
});

describe('subclusters', () => {
  it('that contradict their entry are corruptions', async () => {
    const path = await create(
      'sub.qcow2',
      'extended_l2=on,cluster_size=16k',
      '4M',
      'write 0 64k',
      'write 80k 1k',
    );
    const judged = async (message: RegExp, damage: (made: MadeImage) => void) => {
      const made = await MadeImage.read(path);
      damage(made);
      const both = await judge(file('sub-broken.qcow2'), made.bytes);
      expect(both.ours).toBe(2);
      expect(both.report?.findings[0]?.message).toMatch(message);
    };
    await judged(/both allocated and zero/, (made) =>
      made.change(made.l2() + 8, (bits) => bits | (1n << 33n)),
    );
    await judged(/no place in the file/, (made) => made.change(made.l2(200) + 8, () => 1n));
    await judged(/has subcluster bits/, (made) => {
      made.change(made.l2(200), () => COMPRESSED | 100n);
      made.change(made.l2(200) + 8, () => 1n);
    });
  });
});

describe('what cannot be checked', () => {
  it('is told as an error', async () => {
    const raw = file('disk.raw');
    await qemuImg('create', '-q', '-f', 'raw', raw, '1M');
    await expect(checkImage(raw)).rejects.toMatchObject({ code: 'UNSUPPORTED', data: { format: 'raw' } });
    await expect(checkImage(file('nothing.qcow2'))).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(checkImage(raw, { format: 'qcow2' })).rejects.toMatchObject({ code: 'BAD_IMAGE' });
  });
});
