import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, deflateSync } from 'node:zlib';
import { expect, onTestFinished, test } from 'vitest';
import { encodeCommit, encodeTree, MODE_FILE } from '../../objects/index.ts';
import { Pack, parseEntryHead } from '../../pack/index.ts';
import { GitRepository } from '../objects/git.ts';
import { putLoose } from '../objects/loose/put-loose.ts';
import { mixed, noise } from '../objects/noise.ts';
import { sampleObject, writePack } from './pack-objects.ts';

/** A repository whose blobs are versions of few disks, so that git finds deltas. */
function versions(): GitRepository {
  const repository = GitRepository.create();
  const person = { name: 'A', email: 'a@b', seconds: 1, zoneMinutes: 0 };
  let parents: string[] = [];
  const disks = [mixed(40_000, 1), noise(70_000, 2), Buffer.alloc(200_000)];
  for (let version = 0; version < 30; version++) {
    for (const [i, disk] of disks.entries())
      noise(40, version).copy(disk, (version * 977 + i * 333) % 30_000);
    const entries = disks.map((disk, i) => {
      return { mode: MODE_FILE, name: `disk${i}`, id: putLoose(repository.objects, 'blob', disk) };
    });
    const tree = putLoose(repository.objects, 'tree', encodeTree(entries));
    const message = `version ${version}\n`;
    const commit = encodeCommit({ tree, parents, author: person, committer: person, message, extra: [] });
    parents = [putLoose(repository.objects, 'commit', commit)];
  }
  repository.git(['update-ref', 'refs/heads/main', parents[0]!]);
  repository.git(['tag', '-a', 'v1', '-m', 'tagged', 'refs/heads/main']);
  return repository;
}

/** The only pack of a repository; closed after the test. */
function packOf(repository: GitRepository): Pack {
  const names = readdirSync(repository.packs).filter((name) => name.endsWith('.idx'));
  expect(names).toHaveLength(1);
  const pack = new Pack(join(repository.packs, names[0]!.slice(0, -4)));
  onTestFinished(() => pack.close());
  return pack;
}

/** Expects every object of the pack to be what git says, in the order given. */
function expectAsGit(repository: GitRepository, pack: Pack, positions: readonly number[]): void {
  const ids = positions.map((position) => pack.idx.id(position));
  const output = repository.run(['cat-file', '--batch'], `${ids.join('\n')}\n`);
  let at = 0;
  for (const [i, position] of positions.entries()) {
    const line = output.toString('latin1', at, output.indexOf('\n', at));
    const [id, type, size] = line.split(' ');
    const from = at + line.length + 1;
    expect(id).toBe(ids[i]);
    expect(pack.header(position)).toEqual({ type, size: Number(size) });
    const object = pack.read(position);
    expect(object.type).toBe(type);
    expect(Buffer.compare(object.data, output.subarray(from, from + Number(size)))).toBe(0);
    at = from + Number(size) + 1;
  }
  expect(at).toBe(output.length);
}

test.each([
  ['by offset', 'ofs-delta', []],
  ['by id', 'ref-delta', ['-c', 'repack.useDeltaBaseOffset=false']],
  ['by offset, stored without compression', 'ofs-delta', ['-c', 'pack.compression=0']],
])('Pack reads what git reads when git packed it with deltas %s', (_, kind, config) => {
  const repository = versions();
  repository.git([...config, 'repack', '-adfq', '--window=50', '--depth=50']);
  const pack = packOf(repository);
  const listing = repository.git(['verify-pack', '-v', `${pack.stem}.idx`]);
  // A row of a delta ends in its depth and base.
  const depths = new Map(
    [...listing.matchAll(/^([0-9a-f]{64}) .* ([0-9]+) [0-9a-f]{64}$/gm)].map(
      ([, id, depth]) => [id!, Number(depth)] as const,
    ),
  );
  const deltas = depths.size;
  expect(deltas).toBeGreaterThan(40);
  pack.idx.verify();
  const bytes = readFileSync(pack.path);
  const kinds = Array.from({ length: pack.idx.count }, (_row, position) => {
    return parseEntryHead(bytes.subarray(pack.idx.offset(position))).kind as string;
  });
  expect(kinds.filter((each) => each.endsWith('delta'))).toEqual(Array<string>(deltas).fill(kind));
  const positions = Array.from({ length: pack.idx.count }, (_row, position) => position);
  expectAsGit(repository, pack, positions);
  expectAsGit(repository, pack, positions.reverse());
  for (const position of positions) expect(pack.depth(position)).toBe(depths.get(pack.idx.id(position)) ?? 0);
});

test('Pack reads a chain of deltas longer than git makes by default', () => {
  const repository = GitRepository.create();
  const disk = noise(3000, 1);
  const ids = Array.from({ length: 600 }, (_, version) => {
    disk.writeUInt32BE(version, (version * 4) % 2996);
    return putLoose(repository.objects, 'blob', disk);
  });
  repository.git(
    [
      '-c',
      'pack.depth=4095',
      'pack-objects',
      '-q',
      '--window=10',
      '--depth=4095',
      `${repository.packs}/pack`,
    ],
    `${ids.join('\n')}\n`,
  );
  repository.git(['prune-packed']);
  const pack = packOf(repository);
  const depths = repository
    .git(['verify-pack', '-v', `${pack.stem}.idx`])
    .split('\n')
    .map((row) => Number(/ ([0-9]+) [0-9a-f]{64}$/.exec(row)?.[1] ?? 0));
  expect(Math.max(...depths)).toBeGreaterThan(50);
  expectAsGit(
    repository,
    pack,
    ids.map((id) => pack.idx.find(id)!),
  );
});

test('Pack reads streams that an encoder made longer than their data', async () => {
  // Nine bits for each byte: valid, though no good encoder does so.
  const data = Buffer.from(Array.from({ length: 50_000 }, (_, i) => 144 + ((i * 7919) % 112)));
  const deflated = deflateSync(data, { strategy: constants.Z_FIXED, windowBits: 9, memLevel: 1, level: 1 });
  const huffman = deflateSync(noise(50_000, 1), { strategy: constants.Z_HUFFMAN_ONLY });
  const objects = [
    { ...sampleObject('blob', data), deflated },
    { ...sampleObject('blob', noise(50_000, 1)), deflated: huffman },
    { ...sampleObject('blob', noise(60_000, 2)), deflated: fixedOnly(noise(60_000, 2)) },
  ];
  const repository = GitRepository.create();
  await writePack(repository.packs, objects);
  repository.fsck();
  const pack = packOf(repository);
  expectAsGit(repository, pack, [0, 1, 2]);
});

/** A zlib stream of literals in the fixed codes of RFC 1951 section 3.2.6 alone: 8 or 9 bits each. */
function fixedOnly(data: Buffer): Buffer {
  const bits: number[] = [1, 1, 0];
  const code = (value: number, length: number) => {
    for (let bit = length - 1; bit >= 0; bit--) bits.push((value >> bit) & 1);
  };
  for (const byte of data) {
    if (byte < 144) code(0x30 + byte, 8);
    else code(0x190 + byte - 144, 9);
  }
  code(0, 7);
  const body = Buffer.alloc(Math.ceil(bits.length / 8));
  for (const [i, bit] of bits.entries()) body[i >> 3]! |= bit << (i & 7);
  return Buffer.concat([Buffer.of(0x78, 0x01), body, deflateSync(data).subarray(-4)]);
}
