import { type DeflateCodec, loadLibdeflate } from '../../../objects/index.ts';

/** libdeflate as tests use it: they never go without, as a test that is skipped would look like one that passed. */
export const libdeflate: DeflateCodec = required();

function required(): DeflateCodec {
  const codec = loadLibdeflate();
  if (codec !== undefined) return codec;
  throw new Error(
    'libdeflate does not load: install it and koffi, on Debian with: sudo apt-get install --yes libdeflate0 && npm ci --include=optional',
  );
}
