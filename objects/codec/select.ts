import { ImgstoreError } from '../../errors/index.ts';
import type { DeflateCodec } from './deflate.ts';
import { loadIsal } from './deflate-isal.ts';
import { loadLibdeflate } from './deflate-libdeflate.ts';
import { nodeDeflate } from './deflate-node.ts';
import { onDemand } from './deflate-on-demand.ts';
import { pakoDeflate } from './deflate-pako.ts';
import type { HashCodec } from './hash.ts';
import { IPSEC_MB_LANES, loadIpsecMb } from './hash-ipsec-mb.ts';
import { nobleHash } from './hash-noble.ts';
import { nodeHash } from './hash-node.ts';
import { hashOnDemand } from './hash-on-demand.ts';

/** A hash and a deflate implementation that are used together. */
export interface Codecs {
  readonly hash: HashCodec;
  readonly deflate: DeflateCodec;
}

/** OpenSSL and zlib, as Node brings them. */
export const zlibCodecs: Codecs = { hash: nodeHash, deflate: nodeDeflate };
/** JavaScript throughout: independent of the native code, so a second opinion on every byte of a store. */
export const portableCodecs: Codecs = { hash: nobleHash, deflate: pakoDeflate };

/**
 * The codecs of this process: `IMGSTORE_CODECS` says `native` (the default: Intel's Multi-Buffer Crypto, ISA-L and libdeflate where the system has them), `zlib` or `portable`. Worker threads
 * see the same environment, so they choose alike.
 */
export function selectCodecs(environment: NodeJS.ProcessEnv = process.env): Codecs {
  const choice = environment.IMGSTORE_CODECS ?? 'native';
  if (choice === 'native') return nativeCodecs();
  if (choice === 'zlib') return zlibCodecs;
  if (choice === 'portable') return portableCodecs;
  throw new ImgstoreError('USAGE', `IMGSTORE_CODECS=${choice}: is neither 'native', 'zlib' nor 'portable'`, {
    value: choice,
  });
}

function nativeCodecs(): Codecs {
  return {
    hash: hashOnDemand(nodeHash, IPSEC_MB_LANES, () => loadIpsecMb(nodeHash)),
    deflate: onDemand(nativeDeflate),
  };
}

/** ISA-L for the fastest level, libdeflate for the others. */
function nativeDeflate(): DeflateCodec {
  const strong = loadLibdeflate() ?? nodeDeflate;
  return loadIsal(strong) ?? strong;
}

let selected: Codecs | undefined;

/** The result of {@link selectCodecs}, made once. */
export function codecs(): Codecs {
  selected ??= selectCodecs();
  return selected;
}
