import { createRequire } from 'node:module';
import type { HashCodec } from './hash.ts';

/** File name of the shared library (Debian: libipsec-mb1). */
const LIBRARY = 'libIPSec_MB.so.1';

/**
 * Versions (`IMB_VERSION`) of the library whose structs are known to be laid out as below: fields move between versions. Debian 12 has 1.3.
 */
const VERSIONS = [0x1_03_00];

/**
 * Fields of `IMB_MGR` (intel-ipsec-mb.h), pointers to functions; offsets in bytes on 64-bit machines.
 */
const GET_NEXT_BURST = 952;
const SUBMIT_BURST_NOCHECK = 968;
const FLUSH_BURST = 976;

/**
 * Fields of `IMB_JOB`:
 *
 * ```text
 * 24  8  src                        96   8  auth_tag_output_len   140  4  hash_alg
 * 56  8  hash_start_src_offset      128  4  status                144  4  chain_order
 * 64  8  msg_len_to_hash_in_bytes   132  4  cipher_mode
 * 88  8  auth_tag_output            136  4  cipher_direction
 * ```
 */
const SRC = 24;
const HASH_START = 56;
const HASH_LENGTH = 64;
const TAG_OUTPUT = 88;
const TAG_LENGTH = 96;
const STATUS = 128;
const CIPHER_MODE = 132;
const CIPHER_DIRECTION = 136;
const HASH_ALGORITHM = 140;
const CHAIN_ORDER = 144;

/** Values of the library's enumerations. */
const NO_CIPHER = 3;
const ENCRYPT = 1;
const HASH_FIRST = 2;
const SHA_256 = 15;
const COMPLETED = 3;

const DIGEST_BYTES = 32;

/** Messages at a time: AVX-512 has 16 lanes of 32 bits. */
export const IPSEC_MB_LANES = 16;

/** Fewer messages than these take OpenSSL less time: 16 clusters take 190 µs, one 184, and OpenSSL 38 for each. */
const LEAST_MESSAGES = 6;

/** Messages shorter than this may lie in V8's heap, where they move. */
const LEAST_BYTES = 1024;

/**
 * Longer messages are left to the other codec: a cluster of 64 KiB with its header fits. The library counts blocks of 64 bytes in 16 bits; its own check refuses more than 65535 bytes for all
 * algorithms alike, so it is gone round, and {@link works} tries the longest.
 */
const MOST_BYTES = 64 * 1024 + 32;

/** What is used of the library, and the memory of its manager. */
interface Library {
  burst(pointer: bigint, count: number, jobs: bigint): number;
  address(bytes: Uint8Array): bigint;
  readonly manager: bigint;
  readonly managerBytes: DataView;
  /** Of koffi, which unloads the library when nobody holds it. */
  readonly handle: unknown;
}

/**
 * SHA-256 of several messages at once, by Intel's Multi-Buffer Crypto library where the system has it: 16 clusters of 64 KiB with AVX-512 at 5500 MB/s a core, where OpenSSL's SHA instructions
 * reach 1740; with AVX2, 8 of them, 2600. One message in each call is hashed by the other codec too. Undefined when koffi or the library is missing or of an unknown version, or does not
 * give what the other gives.
 */
export function loadIpsecMb(single: HashCodec): HashCodec | undefined {
  const library = openLibrary();
  if (library === undefined) return undefined;
  const codec = makeCodec(library, single);
  return works(codec, single) ? codec : undefined;
}

/** A library of another layout would be found out here. */
function works(codec: HashCodec, single: HashCodec): boolean {
  const messages = [LEAST_BYTES, 4108, 65_535, 65_536, 65_548, MOST_BYTES].map((length, seed) =>
    Buffer.alloc(length, `${seed}: any bytes\n`),
  );
  try {
    return codec
      .digests(messages)
      .every((digest, i) => Buffer.compare(digest, single.digest(messages[i]!)) === 0);
  } catch {
    return false;
  }
}

function makeCodec(library: Library, single: HashCodec): HashCodec {
  const { manager, managerBytes } = library;
  const littleEndian = true;
  const pointerAt = (offset: number) => managerBytes.getBigUint64(offset, littleEndian);
  const [next, submit, flush] = [GET_NEXT_BURST, SUBMIT_BURST_NOCHECK, FLUSH_BURST].map(pointerAt);
  const jobs = new BigUint64Array(IPSEC_MB_LANES);
  const jobsAddress = library.address(new Uint8Array(jobs.buffer));
  const made = Buffer.allocUnsafeSlow(IPSEC_MB_LANES * DIGEST_BYTES);
  const madeAddress = library.address(made);
  let calls = 0;

  /** `IMB_JOB`s lie in the manager. */
  const jobAt = (i: number) => Number(jobs[i]! - manager);
  const describe = (job: number, message: Uint8Array, i: number) => {
    managerBytes.setBigUint64(job + SRC, library.address(message), littleEndian);
    managerBytes.setBigUint64(job + HASH_START, 0n, littleEndian);
    managerBytes.setBigUint64(job + HASH_LENGTH, BigInt(message.length), littleEndian);
    managerBytes.setBigUint64(job + TAG_OUTPUT, madeAddress + BigInt(i * DIGEST_BYTES), littleEndian);
    managerBytes.setBigUint64(job + TAG_LENGTH, BigInt(DIGEST_BYTES), littleEndian);
    managerBytes.setUint32(job + CIPHER_MODE, NO_CIPHER, littleEndian);
    managerBytes.setUint32(job + CIPHER_DIRECTION, ENCRYPT, littleEndian);
    managerBytes.setUint32(job + HASH_ALGORITHM, SHA_256, littleEndian);
    managerBytes.setUint32(job + CHAIN_ORDER, HASH_FIRST, littleEndian);
  };
  const hashAtOnce = (messages: readonly Uint8Array[]): Uint8Array[] => {
    const count = messages.length;
    if (library.burst(next!, count, jobsAddress) !== count) throw failed('has no room for jobs');
    const places = messages.map((_, i) => jobAt(i));
    for (const [i, message] of messages.entries()) describe(places[i]!, message, i);
    let done = library.burst(submit!, count, jobsAddress);
    while (done < count) {
      const more = library.burst(flush!, count, jobsAddress);
      if (more === 0) throw failed('does not end jobs');
      done += more;
    }
    if (places.some((job) => managerBytes.getUint32(job + STATUS, littleEndian) !== COMPLETED))
      throw failed('refuses a job');
    const digests = messages.map((_, i) =>
      Buffer.from(made.subarray(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES)),
    );
    // All that the store believes hangs on this, so each call proves one lane, in turn.
    const proven = calls++ % count;
    if (Buffer.compare(digests[proven]!, single.digest(messages[proven]!)) !== 0)
      throw failed('gives wrong digests');
    return digests;
  };
  const fits = ({ length }: Uint8Array) => length >= LEAST_BYTES && length <= MOST_BYTES;
  return {
    ...single,
    name: `ipsec-mb+${single.name}`,
    lanes: IPSEC_MB_LANES,
    digests: (messages) =>
      messages.length >= LEAST_MESSAGES && messages.length <= IPSEC_MB_LANES && messages.every(fits)
        ? hashAtOnce(messages)
        : single.digests(messages),
  };
}

function failed(what: string): Error {
  return new Error(`${LIBRARY} ${what}: set IMGSTORE_CODECS=zlib to do without it`);
}

function openLibrary(): Library | undefined {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const library = koffi.load(LIBRARY);
    if (!VERSIONS.includes(library.func('uint32_t imb_get_version()')())) return undefined;
    const length: number = library.func('size_t imb_get_mb_mgr_size()')();
    const manager: bigint = library.func('void *alloc_mb_mgr(uint64_t flags)')(0);
    library.func('void init_mb_mgr_auto(void *manager, void *arch)')(manager, null);
    const prototype = koffi.proto('uint32_t (void *manager, uint32_t count, void *jobs)');
    return {
      burst: (pointer, count, jobs) => koffi.call(pointer, prototype, manager, count, jobs),
      address: koffi.address,
      manager,
      managerBytes: new DataView(koffi.view(manager, length)),
      handle: library,
    };
  } catch {
    // no such library, or no koffi
    return undefined;
  }
}
