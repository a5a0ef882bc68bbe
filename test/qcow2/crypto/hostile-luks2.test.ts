import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ImgstoreError } from '../../../errors/index.ts';
import { KeyWork } from '../../../qcow2/crypto/key-work.ts';
import { openLuks } from '../../../qcow2/crypto/luks-key.ts';
import { readLuksHeader } from '../../../qcow2/crypto/read-luks.ts';
import { noise } from '../qemu.ts';
import { COPY_BYTES, type Json, luks2Copy, luks2Parts, MATERIAL_AT, makeLuks2 } from './make-luks2.ts';

const PASSWORD = Buffer.from('secret');
const { json: JSON_PARTS, material: MATERIAL } = luks2Parts(PASSWORD, noise(64, 3));
const GOOD = JSON.stringify(JSON_PARTS);
/** As for LUKS1: what keys may take, on a machine that does other things as well. */
const MOST_MILLISECONDS = 30_000;
const MAX_COPY_BYTES = 4 * 2 ** 20;

/** What becomes of a header: undefined if it opens. */
async function failure(bytes: Buffer, work = new KeyWork()): Promise<ImgstoreError | undefined> {
  const source = {
    length: bytes.length,
    read: async (offset: number, into: Buffer) => {
      if (offset < 0 || offset + into.length > bytes.length) throw new Error('read outside of the header');
      bytes.copy(into, 0, offset);
    },
  };
  const start = performance.now();
  try {
    const header = await readLuksHeader(source, 'x.qcow2');
    await openLuks(PASSWORD, { header, bytes: source, work, image: 'x.qcow2' });
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(ImgstoreError);
    expect((error as ImgstoreError).message).toMatch(/^x\.qcow2: [^\n]{1,400}$/);
    return error as ImgstoreError;
  } finally {
    expect(performance.now() - start).toBeLessThan(MOST_MILLISECONDS);
  }
}

/** The same for the good header with a change to its JSON. */
function changed(change: (json: Json) => void): Promise<ImgstoreError | undefined> {
  const json = JSON.parse(GOOD) as Json;
  change(json);
  return failure(makeLuks2(JSON.stringify(json), MATERIAL));
}

const slot = (json: Json): Json => json.keyslots['0'];
const segment = (json: Json): Json => json.segments['0'];
const digest = (json: Json): Json => json.digests['0'];

function argon2(costs: Json) {
  return (json: Json) => {
    const salt = slot(json).kdf.salt;
    slot(json).kdf = { type: 'argon2id', time: 1, memory: 64, cpus: 1, salt, ...costs };
  };
}

describe('a LUKS2 header', () => {
  it('opens as it is, also with parts that mean nothing to a reader', async () => {
    expect(await failure(makeLuks2(GOOD, MATERIAL))).toBeUndefined();
    expect(
      await changed((json) => {
        json.keyslots['7'] = { type: 'reencrypt' };
        json.tokens = 5;
        json.config.flags = ['allow-discards'];
        json.config.requirements = {};
        segment(json).iv_tweak = '4503599627370496';
        segment(json).offset = '512';
      }),
    ).toBeUndefined();
  });

  it.each<[string, (json: Json) => void, string, string]>([
    ['no keyslots', (j) => delete j.keyslots, 'BAD_IMAGE', 'keyslots is missing'],
    ['a list of keyslots', (j) => (j.keyslots = []), 'BAD_IMAGE', 'keyslots = […] is not an object'],
    ['no slot', (j) => (j.keyslots = {}), 'BAD_IMAGE', 'no key slot in use'],
    [
      'a slot without number',
      (j) => (j.keyslots.x = {}),
      'BAD_IMAGE',
      'keyslots.x = {…} does not have a number',
    ],
    ['slot __proto__', (j) => (j.keyslots = JSON.parse('{"__proto__":{}}')), 'BAD_IMAGE', '__proto__'],
    ['slot 32', (j) => (j.keyslots['32'] = slot(j)), 'BAD_IMAGE', 'keyslots.32'],
    ['a slot of null', (j) => (j.keyslots['0'] = null), 'BAD_IMAGE', 'keyslots.0 = null is not an object'],
    ['a key size of 0', (j) => (slot(j).key_size = 0), 'BAD_IMAGE', 'keyslots.0.key_size = 0'],
    ['a key size of 65', (j) => (slot(j).key_size = 65), 'BAD_IMAGE', 'key_size = 65'],
    ['a key size as text', (j) => (slot(j).key_size = '64'), 'BAD_IMAGE', 'key_size = "64"'],
    ['a broken key size', (j) => (slot(j).key_size = 63.5), 'BAD_IMAGE', 'key_size = 63.5'],
    ['a key size of 63', (j) => (slot(j).key_size = 63), 'UNSUPPORTED', 'a key of 63 bytes'],
    ['a key size of 32', (j) => (slot(j).key_size = 32), 'WRONG_KEY', 'opens none of its 1'],
    ['stripes 0', (j) => (slot(j).af.stripes = 0), 'BAD_IMAGE', 'af.stripes = 0'],
    ['stripes 1', (j) => (slot(j).af.stripes = 1), 'BAD_IMAGE', 'af.stripes = 1 is not 4000'],
    ['many stripes', (j) => (slot(j).af.stripes = 1e300), 'BAD_IMAGE', 'af.stripes = 1e+300'],
    ['another splitter', (j) => (slot(j).af.type = 'x'), 'BAD_IMAGE', 'af.type = "x"'],
    ['another splitter hash', (j) => (slot(j).af.hash = 'md4'), 'UNSUPPORTED', 'hash "md4"'],
    ['no area', (j) => delete slot(j).area, 'BAD_IMAGE', 'keyslots.0.area is missing'],
    ['an area in the header', (j) => (slot(j).area.offset = '16384'), 'BAD_IMAGE', 'area.offset = "16384"'],
    ['an area behind the end', (j) => (slot(j).area.offset = '33280'), 'BAD_IMAGE', 'area.offset = "33280"'],
    ['an area of 2^64', (j) => (slot(j).area.size = '18446744073709551615'), 'BAD_IMAGE', 'area.size'],
    ['a negative area', (j) => (slot(j).area.offset = '-1'), 'BAD_IMAGE', 'area.offset = "-1"'],
    ['an area as number', (j) => (slot(j).area.offset = 32768), 'BAD_IMAGE', 'area.offset = 32768'],
    ['an area of nothing', (j) => (slot(j).area.size = '0'), 'BAD_IMAGE', 'area.offset'],
    ['a small area', (j) => (slot(j).area.size = '255488'), 'BAD_IMAGE', 'area.size = "255488" is too small'],
    ['another area', (j) => (slot(j).area.type = 'none'), 'BAD_IMAGE', 'area.type'],
    ['another slot cipher', (j) => (slot(j).area.encryption = 'null'), 'UNSUPPORTED', '"null-"'],
    ['a short slot key', (j) => (slot(j).area.key_size = 1), 'UNSUPPORTED', 'a key of 1 bytes'],
    ['no kdf', (j) => delete slot(j).kdf, 'BAD_IMAGE', 'kdf is missing'],
    ['another kdf', (j) => (slot(j).kdf.type = 'scrypt'), 'UNSUPPORTED', 'slot 0 makes its key by "scrypt"'],
    ['another kdf hash', (j) => (slot(j).kdf.hash = '__proto__'), 'UNSUPPORTED', '"__proto__"'],
    ['no iterations', (j) => (slot(j).kdf.iterations = 0), 'BAD_IMAGE', 'kdf.iterations = 0'],
    ['negative iterations', (j) => (slot(j).kdf.iterations = -5), 'BAD_IMAGE', 'kdf.iterations = -5'],
    [
      'many iterations',
      (j) => (slot(j).kdf.iterations = 4e9),
      'UNSUPPORTED',
      'asks for 4000000000 iterations',
    ],
    ['no salt', (j) => delete slot(j).kdf.salt, 'BAD_IMAGE', 'kdf.salt is missing'],
    ['a short salt', (j) => (slot(j).kdf.salt = 'AAAA'), 'BAD_IMAGE', 'kdf.salt = "AAAA" is not 32 bytes'],
    ['a long salt', (j) => (slot(j).kdf.salt = 'A'.repeat(8000)), 'BAD_IMAGE', 'AAA"… is not 32 bytes'],
    ['a salt in no base64', (j) => (slot(j).kdf.salt = '!'.repeat(44)), 'BAD_IMAGE', 'kdf.salt'],
    ['a priority of 3', (j) => (slot(j).priority = 3), 'BAD_IMAGE', 'keyslots.0.priority = 3'],
    [
      '4 GiB of memory',
      argon2({ memory: 4194304 }),
      'UNSUPPORTED',
      'asks for 4194304 KiB of memory, of which',
    ],
    [
      'all memory',
      argon2({ memory: 2 ** 32 - 1 }),
      'UNSUPPORTED',
      'slot 0 asks for 4294967295 KiB of memory',
    ],
    ['more memory', argon2({ memory: 2 ** 32 }), 'BAD_IMAGE', 'kdf.memory = 4294967296'],
    ['no memory', argon2({ memory: 0 }), 'BAD_IMAGE', 'kdf.memory = 0 is not a whole number from 8'],
    ['less memory than lanes', argon2({ memory: 31, cpus: 4 }), 'BAD_IMAGE', 'kdf.memory = 31'],
    ['many lanes', argon2({ cpus: 65 }), 'BAD_IMAGE', 'kdf.cpus = 65'],
    ['no time', argon2({ time: 0 }), 'BAD_IMAGE', 'kdf.time = 0'],
    [
      'much time',
      argon2({ time: 2 ** 32 - 1 }),
      'UNSUPPORTED',
      '4294967295 passes over 64 KiB of memory, about',
    ],
    ['time as text', argon2({ time: '4' }), 'BAD_IMAGE', 'kdf.time = "4"'],
    ['argon2 without salt', argon2({ salt: null }), 'BAD_IMAGE', 'kdf.salt = null'],
    ['another way to a key', argon2({}), 'WRONG_KEY', 'opens none'],
    ['no segment', (j) => (j.segments = {}), 'BAD_IMAGE', 'segments.0 is missing'],
    ['two segments', (j) => (j.segments['1'] = segment(j)), 'UNSUPPORTED', '2 segments'],
    ['another segment', (j) => (segment(j).type = 'linear'), 'UNSUPPORTED', 'segment of type "linear"'],
    ['integrity', (j) => (segment(j).integrity = {}), 'UNSUPPORTED', 'integrity tags'],
    ['no sector size', (j) => (segment(j).sector_size = 0), 'BAD_IMAGE', 'segments.0.sector_size = 0'],
    ['a large sector size', (j) => (segment(j).sector_size = 8192), 'BAD_IMAGE', 'sector_size = 8192'],
    ['an odd sector size', (j) => (segment(j).sector_size = 1536), 'BAD_IMAGE', 'not a power of two'],
    ['another cipher', (j) => (segment(j).encryption = 'capi:xts(aes)-plain64'), 'UNSUPPORTED', 'capi:xts'],
    ['a long cipher', (j) => (segment(j).encryption = 'a'.repeat(9000)), 'BAD_IMAGE', 'encryption = "aaa'],
    ['no cipher', (j) => (segment(j).encryption = ''), 'BAD_IMAGE', 'encryption = ""'],
    ['a huge tweak', (j) => (segment(j).iv_tweak = '4503599627370497'), 'BAD_IMAGE', 'iv_tweak'],
    ['a tweak as number', (j) => (segment(j).iv_tweak = 0), 'BAD_IMAGE', 'iv_tweak = 0'],
    ['an odd offset', (j) => (segment(j).offset = '1'), 'BAD_IMAGE', 'segments.0.offset = "1"'],
    ['a size of 0', (j) => (segment(j).size = '0'), 'BAD_IMAGE', 'segments.0.size = "0"'],
    ['an odd size', (j) => (segment(j).size = '513'), 'BAD_IMAGE', 'segments.0.size = "513"'],
    ['a size in words', (j) => (segment(j).size = 'all'), 'BAD_IMAGE', 'segments.0.size = "all"'],
    ['no digest', (j) => (j.digests = {}), 'BAD_IMAGE', 'no key slot in use'],
    ['another digest', (j) => (digest(j).digest = `${'A'.repeat(43)}=`), 'WRONG_KEY', 'opens none'],
    ['a short digest', (j) => (digest(j).digest = 'AAAA'), 'BAD_IMAGE', 'digests.0.digest'],
    ['a digest of another type', (j) => (digest(j).type = 'x'), 'UNSUPPORTED', 'digest of type "x"'],
    ['a digest of no slot', (j) => (digest(j).keyslots = []), 'BAD_IMAGE', 'no key slot in use'],
    ['a digest of numbers', (j) => (digest(j).keyslots = [0]), 'BAD_IMAGE', 'digests.0.keyslots = […]'],
    ['a digest of no segment', (j) => (digest(j).segments = ['1']), 'BAD_IMAGE', 'no key slot in use'],
    [
      'many digest iterations',
      (j) => (digest(j).iterations = 4e9),
      'UNSUPPORTED',
      'digest asks for 4000000000',
    ],
    ['a digest without salt', (j) => delete digest(j).salt, 'BAD_IMAGE', 'digests.0.salt is missing'],
    ['no config', (j) => delete j.config, 'BAD_IMAGE', 'config is missing'],
    ['another JSON size', (j) => (j.config.json_size = '4096'), 'BAD_IMAGE', 'config.json_size = "4096"'],
    ['no room for keys', (j) => (j.config.keyslots_size = '0'), 'BAD_IMAGE', 'area.offset'],
    ['much room for keys', (j) => (j.config.keyslots_size = '999999999'), 'BAD_IMAGE', 'keyslots_size'],
    [
      'a requirement',
      (j) => (j.config.requirements = { mandatory: ['online-reencrypt-v2'] }),
      'UNSUPPORTED',
      'requires "online-reencrypt-v2"',
    ],
    [
      'requirements of null',
      (j) => (j.config.requirements = null),
      'BAD_IMAGE',
      'config.requirements = null',
    ],
    [
      'overlapping areas',
      (j) => (j.keyslots['1'] = slot(j)),
      'BAD_IMAGE',
      'keyslots.1.area overlaps that of key slot 0',
    ],
  ])('with %s gives an error that says so', async (_, change, code, message) => {
    const failed = await changed(change);
    expect(failed?.message).toContain(message);
    expect(failed?.code).toBe(code);
  });

  it('is not parsed further than its copies are whole, and its newer whole copy counts', async () => {
    const other = JSON.stringify({ ...JSON_PARTS, keyslots: {} });
    const pair = (first: Buffer, second: Buffer) => failure(Buffer.concat([first, second, MATERIAL]));
    const first = luks2Copy(GOOD, 0);
    const second = luks2Copy(GOOD, COPY_BYTES);
    const noSlot = 'x.qcow2: its LUKS header has no key slot in use: no key opens it';
    // Equally new: the first. Newer: the second, as long as it is whole.
    expect(await pair(first, luks2Copy(other, COPY_BYTES))).toBeUndefined();
    expect((await pair(luks2Copy(other, 0), second))?.message).toBe(noSlot);
    const newer = luks2Copy(other, COPY_BYTES, { sequence: 2n ** 64n - 1n });
    expect((await pair(first, newer))?.message).toBe(noSlot);
    newer[4096]! ^= 1;
    expect(await pair(first, newer)).toBeUndefined();
    for (const [change, why] of [
      [(copy: Buffer) => copy.writeBigUInt64BE(4096n, 8), 'hdr_size = 4096'],
      [(copy: Buffer) => copy.writeBigUInt64BE(2n ** 64n - 1n, 8), 'hdr_size = 18446744073709551615'],
      [(copy: Buffer) => copy.writeBigUInt64BE(2n ** 22n, 8), 'hdr_size = 4194304 of 288768 bytes'],
      [(copy: Buffer) => copy.writeBigUInt64BE(1n, 256), 'hdr_offset = 1, not 0'],
      [(copy: Buffer) => copy.write('crc32\0', 72), 'a checksum by "crc32"'],
      [(copy: Buffer) => copy.write('x', 4096), 'no valid JSON'],
    ] as const) {
      const bad = luks2Copy(GOOD, 0, { before: change });
      expect(await pair(bad, second)).toBeUndefined();
      const failed = await pair(bad, Buffer.alloc(COPY_BYTES));
      expect(failed?.code).toBe('BAD_IMAGE');
      expect(failed?.message).toContain(`neither copy of its LUKS2 header is whole: the first has ${why}`);
    }
    for (const length of [592, 4095, 4096, COPY_BYTES - 1, COPY_BYTES]) {
      expect((await failure(first.subarray(0, length)))?.code).toBe('BAD_IMAGE');
    }
  });

  it('takes bounded time for 4 MiB of any JSON', async () => {
    const room = MAX_COPY_BYTES - 4096 - 1;
    for (const json of [
      '['.repeat(room),
      `${'['.repeat(room / 2)}${']'.repeat(room / 2)}`,
      `{"keyslots":${'{"":'.repeat(800_000)}1${'}'.repeat(800_001)}`,
      `{"config":${'['.repeat(2_000_000)}${']'.repeat(2_000_000)}}`,
      `{"segments":"${'a'.repeat(4_000_000)}"}`,
      `{"keyslots":{${Array.from({ length: 300_000 }, (_, i) => `"${i}":{}`).join()}},"digests":{},"segments":{},"config":{}}`,
      GOOD,
      'a'.repeat(MAX_COPY_BYTES - 4096),
      '\0',
      '',
      'null',
      '[]',
      `${GOOD}x`,
    ]) {
      const copies = [0, MAX_COPY_BYTES].map((offset) => luks2Copy(json, offset, {}, MAX_COPY_BYTES));
      const failed = await failure(Buffer.concat([...copies, MATERIAL]));
      expect(failed?.code).toBe('BAD_IMAGE');
    }
  });

  it('gives one error or opens when any bytes of its key slots and copies change, or any value of its JSON', async () => {
    const bytes = makeLuks2(GOOD, MATERIAL);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat({ max: MATERIAL_AT + 4096 }), fc.nat({ max: 255 })), {
          minLength: 1,
          maxLength: 4,
        }),
        async (changes) => {
          const damaged = Buffer.from(bytes);
          for (const [at, value] of changes) damaged[at] = value;
          await failure(damaged);
        },
      ),
      { numRuns: 40 },
    );
    const paths = leaves(JSON_PARTS);
    const values = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom<unknown>(-1, 2 ** 53, 1e308, '18446744073709551616', '0x10', ' 1', '', '\n', '\u2028'),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...paths), values, async (path, value) => {
        await changed((json) => {
          let at = json;
          for (const key of path.slice(0, -1)) at = at[key];
          at[path.at(-1)!] = value;
        });
      }),
      { numRuns: 300 },
    );
  });

  it('is left when Argon2 has taken its time, however many slots ask for more', async () => {
    const json = JSON.parse(GOOD) as Json;
    argon2({ time: 100_000_000 })(json);
    const failed = await failure(makeLuks2(JSON.stringify(json), MATERIAL), new KeyWork(1));
    expect(failed?.message).toMatch(
      /slot 0 asks for 100000000 passes over 64 KiB of memory, .* keys may take 12 s, of which 12\.0/,
    );
  });
});

/** The way to every value. */
function leaves(value: unknown, path: readonly string[] = []): readonly (readonly string[])[] {
  const below =
    typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([key, each]) => leaves(each, [...path, key]))
      : [];
  return path.length === 0 ? below : [path, ...below];
}
