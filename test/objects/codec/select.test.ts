import { afterEach, expect, test, vi } from 'vitest';
import { codecs, nativeCodecs, portableCodecs, selectCodecs } from '../../../objects/index.ts';
import { failure } from '../damage.ts';

afterEach(() => {
  vi.unstubAllEnvs();
  vi.resetModules();
});

test('selectCodecs gives the native codecs when the environment says nothing', () => {
  expect(selectCodecs({})).toBe(nativeCodecs);
});

test('selectCodecs gives what IMGSTORE_CODECS names', () => {
  expect(selectCodecs({ IMGSTORE_CODECS: 'native' })).toBe(nativeCodecs);
  expect(selectCodecs({ IMGSTORE_CODECS: 'portable' })).toBe(portableCodecs);
});

test.each(['', 'Native', 'libdeflate'])('selectCodecs throws USAGE for IMGSTORE_CODECS=%s', (value) => {
  expect(failure(() => selectCodecs({ IMGSTORE_CODECS: value }))).toMatchObject({
    code: 'USAGE',
    message: expect.stringContaining(`IMGSTORE_CODECS=${value}: `),
    data: { value },
  });
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
