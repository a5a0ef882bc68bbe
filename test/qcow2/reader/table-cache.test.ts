import { describe, expect, it } from 'vitest';
import { MemorySource } from '../../../block/index.ts';
import { TableCache } from '../../../qcow2/reader/table-cache.ts';

class CountingSource extends MemorySource {
  reads = 0;
  override async read(offset: number, into: Uint8Array): Promise<void> {
    this.reads++;
    await super.read(offset, into);
  }
}

describe('TableCache', () => {
  const size = 2 ** 21;

  it('shares one read between calls at the same time, then answers at once', async () => {
    const host = new CountingSource(Buffer.alloc(4096, 7));
    const cache = new TableCache(host, 512);
    const [a, b] = await Promise.all([cache.get(512), cache.get(512)]);
    expect(a).toBe(b);
    expect(cache.get(512)).toBe(a);
    expect(host.reads).toBe(1);
  });

  it('drops the table that was used longest ago when it is full', async () => {
    const host = new CountingSource(Buffer.alloc(5 * size));
    const cache = new TableCache(host, size);
    for (const index of [0, 1, 2, 3]) await cache.get(index * size);
    await cache.get(0);
    await cache.get(4 * size);
    expect(cache.get(0)).not.toBeInstanceOf(Promise);
    expect(cache.get(size)).toBeInstanceOf(Promise);
  });

  it('reads again after a failure', async () => {
    const host = new CountingSource(Buffer.alloc(512));
    const cache = new TableCache(host, 512);
    await expect(cache.get(512)).rejects.toMatchObject({ code: 'USAGE' });
    await expect(cache.get(512)).rejects.toMatchObject({ code: 'USAGE' });
    expect(host.reads).toBe(2);
  });
});
