import { afterEach, expect, test, vi } from 'vitest';
import {
  codecs,
  loadIpsecMb,
  nodeDeflate,
  nodeHash,
  portableCodecs,
  selectCodecs,
  zlibCodecs,
} from '../../../objects/index.ts';
import { failure } from '../damage.ts';
import { mixed } from '../noise.ts';

const LIBDEFLATE = '../../../objects/codec/deflate-libdeflate.ts';
const ISAL = '../../../objects/codec/deflate-isal.ts';

afterEach(() => {
  vi.unstubAllEnvs();
  vi.doUnmock(LIBDEFLATE);
  vi.doUnmock(ISAL);
  vi.resetModules();
});

/** Not every Debian has the library. */
const nativeHashName = loadIpsecMb(nodeHash)?.name ?? nodeHash.name;

test("selectCodecs gives Intel's Multi-Buffer Crypto, ISA-L and libdeflate when the environment says nothing", () => {
  const { hash, deflate } = selectCodecs({});
  expect([hash.name, deflate.name]).toEqual([nativeHashName, 'isal+libdeflate']);
});

test.each([
  ['ISA-L', 'libdeflate', [ISAL]],
  ['libdeflate', 'isal+node:zlib', [LIBDEFLATE]],
  ['either', nodeDeflate.name, [ISAL, LIBDEFLATE]],
])('selectCodecs for native does without %s when the system has none', async (_, name, missing) => {
  const none = { loadIsal: () => undefined, loadLibdeflate: () => undefined };
  for (const module of missing) vi.doMock(module, () => none);
  vi.resetModules();
  const without = await import('../../../objects/index.ts');
  const { hash, deflate } = without.selectCodecs({ IMGSTORE_CODECS: 'native' });
  expect([hash.name, deflate.name]).toEqual([nativeHashName, name]);
});

test('selectCodecs gives what IMGSTORE_CODECS names', () => {
  expect(selectCodecs({ IMGSTORE_CODECS: 'native' }).deflate.name).toBe('isal+libdeflate');
  expect(selectCodecs({ IMGSTORE_CODECS: 'zlib' })).toBe(zlibCodecs);
  expect(selectCodecs({ IMGSTORE_CODECS: 'portable' })).toBe(portableCodecs);
});

test.each(['', 'Native', 'Zlib', 'libdeflate'])(
  'selectCodecs throws USAGE for IMGSTORE_CODECS=%s',
  (value) => {
    expect(failure(() => selectCodecs({ IMGSTORE_CODECS: value }))).toMatchObject({
      code: 'USAGE',
      message: expect.stringContaining(`IMGSTORE_CODECS=${value}: `),
      data: { value },
    });
  },
);

test.each(['native', 'zlib', 'portable'])('the codecs of %s read each others streams', (choice) => {
  const { deflate } = selectCodecs({ IMGSTORE_CODECS: choice });
  const data = mixed(5000, 1);
  for (const other of ['native', 'zlib', 'portable']) {
    const peer = selectCodecs({ IMGSTORE_CODECS: other }).deflate;
    const stream = deflate.deflate(data, deflate.packLevel);
    expect(Buffer.compare(peer.inflate(stream, data.length), data)).toBe(0);
  }
});

test('codecs gives the same codecs each time', () => {
  expect(codecs()).toBe(codecs());
});

test('objects are the same when the codecs are portable', async () => {
  vi.stubEnv('IMGSTORE_CODECS', 'portable');
  vi.resetModules();
  const portable = await import('../../../objects/index.ts');
  expect(portable.codecs().hash.name).toBe('@noble/hashes');
  const native = await import('../../../objects/codec/deflate-node.ts');
  const data = Buffer.from('hello\n');
  // `echo hello | git hash-object --stdin` in a repository of SHA-256.
  expect(portable.objectId('blob', data)).toBe(
    '2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4',
  );
  const file = portable.looseFromDeflated('blob', data.length, native.nodeDeflate.deflate(data, 1));
  expect(portable.parseLooseHeader(file)).toMatchObject({ type: 'blob', size: 6 });
  expect(Buffer.from(portable.parseLoose(file).data)).toEqual(data);
});
