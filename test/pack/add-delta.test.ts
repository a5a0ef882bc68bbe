import { expect, onTestFinished, test } from 'vitest';
import { nodeDeflate } from '../../objects/index.ts';
import { DeltaBase, encodeDelta, Pack, PackOrder, PackWriter } from '../../pack/index.ts';
import { temporaryFolder } from '../block/temporary-folder.ts';
import { GitRepository } from '../objects/git.ts';
import { mixed, noise } from '../objects/noise.ts';
import { addChain, versions, writeChains } from './delta-pack.ts';
import { sampleObject, writePack } from './pack-objects.ts';

/** Expects that git takes the pack from its bytes alone, finds nothing wrong and reads what was packed. */
function expectGitReads(
  repository: GitRepository,
  stem: string,
  blobs: readonly { readonly id: string; readonly data: Buffer }[],
): void {
  repository.git(['index-pack', '--strict', '-o', `${repository.folder}/check.idx`, `${stem}.pack`]);
  repository.git(['verify-pack', `${stem}.idx`]);
  repository.fsck();
  const output = repository.run(['cat-file', '--batch'], `${blobs.map(({ id }) => id).join('\n')}\n`);
  let at = 0;
  for (const { id, data } of blobs) {
    const line = `${id} blob ${data.length}\n`;
    expect(output.toString('latin1', at, at + line.length)).toBe(line);
    at += line.length;
    expect(Buffer.compare(output.subarray(at, at + data.length), data)).toBe(0);
    at += data.length + 1;
  }
  expect(at).toBe(output.length);
}

test('PackWriter.addDelta makes chains that git accepts and reads', async () => {
  const repository = GitRepository.create();
  const chains = [versions(21, 1), versions(8, 2), versions(1, 3)];
  const stem = await writeChains(repository.packs, chains);
  expectGitReads(repository, stem, chains.flat());
  const listing = repository.git(['verify-pack', '-v', `${stem}.idx`]);
  for (const chain of chains)
    for (const { id, depth } of chain.slice(1))
      expect(listing).toMatch(new RegExp(`^${id} .* ${depth} ${chain[depth - 1]!.id}$`, 'm'));
});

/** Pairs that are hard on an encoder, as far as its output goes. */
const PAIRS: readonly (readonly [string, Buffer, Buffer])[] = [
  ['the base is empty', Buffer.alloc(0), mixed(3000, 1)],
  ['the base is empty and the target of one byte', Buffer.alloc(0), Buffer.of(1)],
  ['both are of one byte', Buffer.of(1), Buffer.of(2)],
  ['they are shorter than what is looked up', Buffer.from('abcdef'), Buffer.from('abcdefg')],
  ['they are of one value', Buffer.alloc(70_000, 7), Buffer.alloc(200_000, 7)],
  ['they have 64 KiB', mixed(65_536, 3), Buffer.concat([noise(1, 1), mixed(65_535, 3)])],
  [
    'they have 64 KiB and a byte',
    mixed(65_537, 4),
    Buffer.concat([mixed(65_537, 4).subarray(1), noise(1, 2)]),
  ],
  ['they have 2 MiB', noise(2 ** 21, 5), Buffer.concat([noise(77, 6), noise(2 ** 21, 5).subarray(0, -77)])],
  ['copies begin beyond 16 MiB', farApart(), Buffer.concat([farApart().subarray(2 ** 24), mixed(100, 1)])],
];

/** Zeros up to 16 MiB, and behind it what is worth a copy. */
function farApart(): Buffer {
  return Buffer.concat([Buffer.alloc(2 ** 24 + 3), noise(3000, 8)]);
}

test.each(PAIRS)('git reads a delta of encodeDelta when %s', async (_, base, target) => {
  const repository = GitRepository.create();
  const [whole, result] = [sampleObject('blob', base), sampleObject('blob', target)];
  const writer = await PackWriter.create(repository.packs);
  await writer.add(whole);
  const delta = encodeDelta(new DeltaBase(base), target);
  await writer.addDelta({
    id: result.id,
    size: delta.length,
    deflated: nodeDeflate.deflate(delta, 1),
    base: 12,
  });
  expectGitReads(repository, await (await writer.finish()).publish(), [whole, result]);
});

/** Distances back to the base at which its encoding has one byte more. */
test.each([
  [1, 100, 127],
  [2, 1000, 16_511],
  [3, 20_000, 2_113_663],
  [4, 2_200_000, 2 ** 28],
])('PackWriter.addDelta writes a distance of %i bytes', async (bytes, least, most) => {
  const repository = GitRepository.create();
  const writer = await PackWriter.create(repository.packs);
  const filler = sampleObject('blob', noise(Math.max(1, least - 90), 1), 0);
  const short = Buffer.from('a base that is short enough to be near, whatever comes behind it');
  const [base, result] = [sampleObject('blob', short), sampleObject('blob', Buffer.concat([short, short]))];
  await writer.add(base);
  if (bytes > 1) await writer.add(filler);
  else await writer.add(sampleObject('blob', Buffer.from('near')));
  const place = writer.bytes;
  const delta = encodeDelta(new DeltaBase(short), result.data);
  await writer.addDelta({
    id: result.id,
    size: delta.length,
    deflated: nodeDeflate.deflate(delta, 1),
    base: 12,
  });
  const stem = await (await writer.finish()).publish();
  const pack = new Pack(stem);
  onTestFinished(() => pack.close());
  const head = pack.head(place);
  expect(head.distance).toBe(place - 12);
  expect(head.distance).toBeLessThanOrEqual(most);
  // One byte says type and size, the others the distance.
  expect(head.length).toBe((delta.length < 16 ? 1 : 2) + bytes);
  expectGitReads(repository, stem, [base, result]);
});

async function copied(source: Pack, folder: string): Promise<Pack> {
  const writer = await PackWriter.create(folder);
  await writer.addAll(source, new PackOrder(source));
  const pack = new Pack(await (await writer.finish()).publish());
  onTestFinished(() => pack.close());
  return pack;
}

test('PackWriter.addAll gives the very pack again when nothing is added', async () => {
  const repository = GitRepository.create();
  const source = new Pack(await writeChains(await temporaryFolder(), [versions(21, 1), versions(3, 2)]));
  onTestFinished(() => source.close());
  const pack = await copied(source, repository.packs);
  for (const ending of ['pack', 'idx', 'rev'])
    expect(
      Buffer.compare(
        await readPacked(`${pack.stem}.${ending}`),
        await readPacked(`${source.stem}.${ending}`),
      ),
      ending,
    ).toBe(0);
});

test('PackWriter.addAll takes over deltas of git by offset and by id at their offsets', async () => {
  for (const config of ['true', 'false']) {
    const [repository, other] = [GitRepository.create(), GitRepository.create()];
    const chain = versions(12, 3);
    const first = await writePack(
      repository.packs,
      chain.map(({ data }) => sampleObject('blob', data)),
    );
    expect(first).not.toBe('');
    const ids = chain.map(({ id }) => id);
    const name = repository.git(
      [
        '-c',
        `repack.useDeltaBaseOffset=${config}`,
        'pack-objects',
        '-q',
        ...(config === 'true' ? ['--delta-base-offset'] : []),
        '--no-reuse-object',
        `${other.folder}/pack`,
      ],
      `${ids.join('\n')}\n`,
    );
    const source = new Pack(`${other.folder}/pack-${name}`);
    onTestFinished(() => source.close());
    const pack = await copied(source, other.packs);
    for (const { id, data } of chain) {
      const [from, to] = [source.idx.find(id)!, pack.idx.find(id)!];
      expect(pack.idx.offset(to)).toBe(source.idx.offset(from));
      expect(pack.idx.crc(to)).toBe(source.idx.crc(from));
      expect(pack.depth(to)).toBe(source.depth(from));
      expect(Buffer.compare(pack.read(to).data, data)).toBe(0);
    }
    expect(Math.max(...ids.map((id) => pack.depth(pack.idx.find(id)!)))).toBeGreaterThan(1);
    expectGitReads(other, pack.stem, chain);
    const listing = (stem: string) =>
      other.git(['verify-pack', '-v', `${stem}.idx`]).replace(/^.*: ok$/m, '');
    expect(listing(pack.stem)).toBe(listing(source.stem));
  }
});

test('PackWriter adds objects and deltas behind what addAll took over', async () => {
  const repository = GitRepository.create();
  const chain = versions(10, 4);
  const source = new Pack(await writeChains(await temporaryFolder(), [chain.slice(0, 5)]));
  onTestFinished(() => source.close());
  const writer = await PackWriter.create(repository.packs);
  const order = new PackOrder(source);
  await writer.addAll(source, order);
  expect([writer.count, writer.bytes]).toEqual([5, source.entriesEnd]);
  let base = order.offset(4);
  for (const [i, { id, data }] of chain.slice(5).entries()) {
    const place = writer.bytes;
    const delta = encodeDelta(new DeltaBase(chain[i + 4]!.data), data);
    await writer.addDelta({ id, size: delta.length, deflated: nodeDeflate.deflate(delta, 1), base });
    base = place;
  }
  const whole = sampleObject('blob', noise(100, 9));
  await writer.add(whole);
  const pack = new Pack(await (await writer.finish()).publish());
  onTestFinished(() => pack.close());
  for (const { id, data, depth } of chain) {
    expect(pack.depth(pack.idx.find(id)!)).toBe(depth);
    expect(Buffer.compare(pack.read(pack.idx.find(id)!).data, data)).toBe(0);
  }
  expectGitReads(repository, pack.stem, [...chain, whole]);
});

test('PackWriter.addAll takes over a pack of nothing', async () => {
  const source = new Pack(await writePack(await temporaryFolder(), []));
  onTestFinished(() => source.close());
  expect((await copied(source, await temporaryFolder())).idx.count).toBe(0);
});

test('PackWriter.addAll throws RangeError when the pack is not empty', async () => {
  const source = new Pack(await writeChains(await temporaryFolder(), [versions(2, 1)]));
  onTestFinished(() => source.close());
  const writer = await PackWriter.create(await temporaryFolder());
  await addChain(writer, versions(1, 2));
  await expect(writer.addAll(source, new PackOrder(source))).rejects.toThrow(RangeError);
  await writer.discard();
});

test('PackWriter.addAll throws DAMAGED naming pack and offset when any byte of an entry does not fit its CRC', async () => {
  const folder = await temporaryFolder();
  const stem = await writeChains(folder, [versions(4, 1, 600)]);
  const whole = new Pack(stem);
  const order = new PackOrder(whole);
  const places = [...order.positions].map((_, i) => [order.offset(i), order.end(i)] as const);
  whole.close();
  const { writeFile } = await import('node:fs/promises');
  const [bytes, idx] = [await readPacked(`${stem}.pack`), await readPacked(`${stem}.idx`)];
  await writeFile(`${stem}0.idx`, idx);
  for (const [offset, end] of places) {
    for (const at of [offset, offset + 1, (offset + end) >> 1, end - 1]) {
      const hostile = Buffer.from(bytes);
      hostile[at]! ^= 0x10;
      await writeFile(`${stem}0.pack`, hostile);
      const pack = new Pack(`${stem}0`);
      const writer = await PackWriter.create(await temporaryFolder());
      await expect(writer.addAll(pack, new PackOrder(pack))).rejects.toMatchObject({
        code: 'DAMAGED',
        message: `${stem}0.pack: entry at ${offset} does not fit its CRC-32`,
        data: { path: `${stem}0.pack`, offset },
      });
      await writer.discard();
      pack.close();
    }
  }
});

async function readPacked(path: string): Promise<Buffer> {
  const { readFile } = await import('node:fs/promises');
  return readFile(path);
}
