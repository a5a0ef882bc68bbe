import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { watchPoints } from '../../../files/index.ts';
import { EntryTable, encodeIdx } from '../../../pack/index.ts';
import { indexName, type PackKind, RemoteIndexes, type RemotePack } from '../../../remote/index.ts';
import { IndexLayer, planLayers } from '../../../remote/layout/index-layers.ts';
import { temporaryFolder } from '../../block/temporary-folder.ts';
import { MemoryBucket } from '../memory-bucket.ts';

/** So many are joined. */
const MANY = 64;

interface Made {
  readonly row: RemotePack;
  readonly ids: readonly string[];
}

/** A bucket of packs without packs: only their indexes are looked at. */
class Place {
  readonly bucket = new MemoryBucket();
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<Place> {
    const folder = join(await temporaryFolder(), 'indexes');
    await mkdir(folder);
    return new Place(folder);
  }

  /** @param shared ids that this pack has too */
  pack(kind: PackKind = 'data', objects = 3, shared: readonly string[] = []): Made {
    const ids = [...Array.from({ length: objects }, () => randomBytes(32).toString('hex')), ...shared];
    const table = new EntryTable();
    for (const [i, id] of ids.entries()) table.add(Buffer.from(id, 'hex'), i, 12 + 100 * i);
    const checksum = randomBytes(32);
    const idx = encodeIdx(table, table.byId(), checksum);
    const row: RemotePack = {
      pack: checksum.toString('hex'),
      upload: '01234567',
      kind,
      bytes: 12 + 100 * ids.length + 32,
      indexBytes: idx.length,
      objects: ids.length,
    };
    this.bucket.objects.set(indexName(row), { bytes: idx, modified: new Date() });
    return { row, ids };
  }

  packs(count: number, kind: PackKind = 'data'): Made[] {
    return Array.from({ length: count }, () => this.pack(kind));
  }

  open(): RemoteIndexes {
    const indexes = new RemoteIndexes(this.bucket, this.folder);
    onTestFinished(() => indexes.close());
    return indexes;
  }

  get layers(): string[] {
    return readdirSync(this.folder).filter((name) => name.endsWith('.midx'));
  }

  layerPacks(): string[][] {
    return this.layers.map((name) => {
      const layer = new IndexLayer(join(this.folder, name));
      layer.close();
      return [...layer.packs];
    });
  }
}

const rowsOf = (made: readonly Made[]) => made.map(({ row }) => row);

/** Fails unless all objects of some packs are found, each in a pack that has it, and those of others are not. */
function expectFound(indexes: RemoteIndexes, made: readonly Made[], others: readonly Made[] = []): void {
  const known = new Set(made.flatMap(({ ids }) => ids));
  for (const { ids } of made)
    for (const id of ids) {
      const place = indexes.find(id)!;
      const holder = made.find(({ row }) => row.pack === place.pack.pack)!;
      expect(place.pack).toEqual(holder.row);
      expect(place.offset).toBe(12 + 100 * holder.ids.indexOf(id));
      expect(indexes.of(place.pack).idx.id(place.position)).toBe(id);
      const kinds = made.filter((each) => each.ids.includes(id)).map(({ row }) => row.kind);
      expect([indexes.has(id), indexes.has(id, 'maps'), indexes.has(id, 'data')]).toEqual([
        true,
        kinds.includes('maps'),
        kinds.includes('data'),
      ]);
    }
  for (const { ids } of others)
    for (const id of ids)
      if (!known.has(id)) expect([indexes.has(id), indexes.find(id)]).toEqual([false, undefined]);
}

test('RemoteIndexes joins the indexes of many packs of a kind, and finds what it found before', async () => {
  const place = await Place.make();
  const few = [...place.packs(MANY - 1), ...place.packs(5, 'maps')];
  const indexes = place.open();
  await indexes.use(rowsOf(few));
  expect(place.layers).toEqual([]);
  const many = [...few, place.pack()];
  const rest = place.packs(1);
  await indexes.use(rowsOf(many));
  expect(place.layerPacks().map((packs) => packs.length)).toEqual([MANY]);
  expectFound(indexes, many, rest);
  const later = place.open();
  const more = [...many, ...rest];
  await later.use(rowsOf(more));
  expect(place.layers).toHaveLength(1);
  expectFound(later, more, [place.pack()]);
});

test('RemoteIndexes agrees with looking into each pack, whatever comes and goes', async () => {
  const place = await Place.make();
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          come: fc.nat({ max: 150 }),
          go: fc.nat({ max: 3 }),
          shared: fc.boolean(),
          again: fc.boolean(),
        }),
        { minLength: 1, maxLength: 5 },
      ),
      async (steps) => {
        let made: Made[] = [];
        let indexes = place.open();
        for (const { come, go, shared, again } of steps) {
          const both = made[0]?.ids ?? [];
          for (let i = 0; i < come; i++)
            made.push(place.pack(i % 5 === 0 ? 'maps' : 'data', 2, shared && i % 7 === 0 ? both : []));
          const gone = made.filter((_, i) => i % 40 < go);
          made = made.filter((each) => !gone.includes(each));
          if (again) indexes = place.open();
          await indexes.use(rowsOf(made));
          expectFound(indexes, made, gone);
          await indexes.keepOnly(new Set(made.map(({ row }) => row.pack)));
        }
        for (const packs of place.layerPacks())
          expect(packs.every((pack) => made.some(({ row }) => row.pack === pack))).toBe(true);
      },
    ),
    { numRuns: 12 },
  );
});

test('RemoteIndexes opens no file for each of many packs', async () => {
  const place = await Place.make();
  const made = place.packs(300);
  await place.open().use(rowsOf(made));
  const before = readdirSync('/proc/self/fd').length;
  const indexes = place.open();
  await indexes.use(rowsOf(made));
  expect(readdirSync('/proc/self/fd').length - before).toBeLessThan(5);
  expectFound(indexes, made);
});

test('RemoteIndexes makes a layer anew of which a part is missing or is zeros', async () => {
  const place = await Place.make();
  const made = place.packs(MANY);
  await place.open().use(rowsOf(made));
  const path = join(place.folder, place.layers[0]!);
  const whole = readFileSync(path);
  for (const length of [0, 11, 500, whole.length - 1]) {
    truncateSync(path, length);
    const indexes = place.open();
    await indexes.use(rowsOf(made));
    expectFound(indexes, made);
    expect(readFileSync(path)).toEqual(whole);
    writeFileSync(path, Buffer.alloc(length));
    await place.open().use(rowsOf(made));
    expect(readFileSync(path)).toEqual(whole);
  }
});

test('RemoteIndexes takes no layer that has a pack which has left the list', async () => {
  const place = await Place.make();
  const both = [randomBytes(32).toString('hex')];
  const made = [place.pack('data', 1, both), ...place.packs(MANY), place.pack('data', 1, both)];
  await place.open().use(rowsOf(made));
  for (const left of [made.slice(1), made.slice(0, -1)]) {
    const indexes = place.open();
    await indexes.use(rowsOf(left));
    expectFound(indexes, left);
    expect(indexes.has(both[0]!)).toBe(true);
  }
  const indexes = place.open();
  await indexes.keepOnly(new Set(rowsOf(made.slice(1)).map(({ pack }) => pack)));
  expect(place.layerPacks().flat()).not.toContain(made[0]!.row.pack);
});

test('RemoteIndexes fetches an index again that was lost beside its layer, and one that is damaged the next time', async () => {
  const place = await Place.make();
  const made = place.packs(MANY);
  await place.open().use(rowsOf(made));
  const { row, ids } = made[7]!;
  const indexes = place.open();
  await rm(indexes.path(row.pack));
  await indexes.use(rowsOf(made));
  expectFound(indexes, made);
  indexes.close();
  truncateSync(indexes.path(row.pack), 100);
  await indexes.use(rowsOf(made));
  expect(indexes.has(ids[0]!)).toBe(true);
  expect(() => indexes.find(ids[0]!)).toThrow(expect.objectContaining({ code: 'DAMAGED' }));
  await indexes.use(rowsOf(made));
  expectFound(indexes, made);
});

test('RemoteIndexes looks into each pack where no layer can be written', async () => {
  const place = await Place.make();
  const made = place.packs(MANY + 3);
  onTestFinished(
    watchPoints((point) => {
      if (point.startsWith('remote-midx.')) throw Object.assign(new Error('EROFS'), { code: 'EROFS' });
    }),
  );
  const indexes = place.open();
  await indexes.use(rowsOf(made));
  expect(place.layers).toEqual([]);
  expectFound(indexes, made);
});

test('RemoteIndexes of two processes that join at once find all', async () => {
  const place = await Place.make();
  const made = place.packs(2 * MANY);
  const both = [place.open(), place.open()];
  await Promise.all(both.map((indexes, i) => indexes.use(rowsOf(i === 0 ? made : made.slice(0, -10)))));
  expectFound(both[0]!, made);
  expectFound(both[1]!, made.slice(0, -10), made);
  await both[0]!.keepOnly(new Set(rowsOf(made).map(({ pack }) => pack)));
  expectFound(both[1]!, made.slice(0, -10));
  const later = place.open();
  await later.use(rowsOf(made));
  expectFound(later, made);
});

test('planLayers joins each pack a few times only, into few layers', () => {
  const layerOf = (packs: number, objects: number) => ({ count: packs * objects }) as IndexLayer;
  for (const objects of [1, 2500, 100_000]) {
    let layers: { layer: IndexLayer; packs: { pack: string; objects: number }[] }[] = [];
    let joins = 0;
    const batches = 200;
    for (let batch = 0; batch < batches; batch++) {
      const loose = Array.from({ length: MANY }, (_, i) => ({ pack: `${batch} ${i}`, objects }));
      const { groups } = planLayers(loose, layers);
      const joined = new Set(groups.flat().map(({ pack }) => pack));
      expect(loose.every(({ pack }) => joined.has(pack))).toBe(true);
      joins += joined.size;
      layers = [
        ...layers.filter(({ packs }) => !joined.has(packs[0]!.pack)),
        ...groups.map((packs) => ({ layer: layerOf(packs.length, objects), packs })),
      ];
      for (const { packs } of layers) expect(packs.length * objects).toBeLessThanOrEqual(2 ** 22);
      expect(layers.flatMap(({ packs }) => packs)).toHaveLength((batch + 1) * MANY);
    }
    expect(joins / (batches * MANY)).toBeLessThan(8);
    expect(layers.length).toBeLessThan(12 + (batches * MANY * objects) / 2 ** 20);
  }
});

test('RemoteIndexes is looked into while it is given other packs, and after that failed', async () => {
  for (const count of [3, MANY + 10]) {
    const place = await Place.make();
    const made = place.packs(count);
    const indexes = place.open();
    await indexes.use(rowsOf(made));
    const stay = made.slice(0, 2);
    let isOver = false;
    const using = (async () => {
      for (let i = 0; i < 20; i++)
        await indexes.use(rowsOf(i % 2 === 0 ? [...stay, ...place.packs(2)] : made));
      isOver = true;
    })();
    while (!isOver) {
      expectFound(indexes, stay);
      await setImmediate();
    }
    await using;
    const lost = place.pack();
    place.bucket.objects.delete(indexName(lost.row));
    await expect(indexes.use([...rowsOf(stay), lost.row])).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expectFound(indexes, made, [lost]);
    const before = readdirSync('/proc/self/fd').length;
    for (let i = 0; i < 5; i++) await indexes.use([...rowsOf(stay), lost.row]).catch(() => {});
    expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before);
  }
});

test('RemoteIndexes removes the layers that new ones were made of', async () => {
  const place = await Place.make();
  const indexes = place.open();
  const made: Made[] = [];
  for (let batch = 0; batch < 6; batch++) {
    made.push(...place.packs(MANY));
    await indexes.use(rowsOf(made));
    const packs = place.layerPacks().flat();
    expect(new Set(packs).size).toBe(packs.length);
    expectFound(indexes, made.slice(-3));
  }
  expect(place.layers.length).toBeLessThanOrEqual(4);
  expectFound(indexes, made);
});
