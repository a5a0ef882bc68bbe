import { type DeflateCodec, loadIsal, loadLibdeflate } from '../../../objects/index.ts';

/** libdeflate and ISA-L as tests use them: they never go without, as a test that is skipped would look like one that passed. */
export const libdeflate: DeflateCodec = required('libdeflate', 'libdeflate0', loadLibdeflate());
export const isal: DeflateCodec = required('ISA-L', 'libisal2', loadIsal(libdeflate));

function required(name: string, debian: string, codec: DeflateCodec | undefined): DeflateCodec {
  if (codec !== undefined) return codec;
  throw new Error(
    `${name} does not load: install it and koffi, on Debian with: sudo apt-get install --yes ${debian} && npm ci --include=optional`,
  );
}
