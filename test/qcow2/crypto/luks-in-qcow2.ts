import { encodeExtension, TYPE_CRYPTO_HEADER } from '../../../qcow2/meta/extensions.ts';
import { encodeHeader } from '../../../qcow2/meta/header-encode.ts';
import * as layout from '../../../qcow2/meta/layout.ts';

const CLUSTER = 65536;
/** Header, L1 table, refcount table and its block. */
const OWN_CLUSTERS = 4;
const COPIED = 2n ** 63n;

/** An empty image of 1 MiB that is encrypted with a LUKS header made elsewhere. */
export function imageWithHeader(luks: Buffer): Buffer {
  const clusters = OWN_CLUSTERS + luks.length / CLUSTER;
  const bytes = Buffer.alloc(OWN_CLUSTERS * CLUSTER);
  const pointer = Buffer.alloc(16);
  pointer.writeBigUInt64BE(BigInt(OWN_CLUSTERS * CLUSTER), 0);
  pointer.writeBigUInt64BE(BigInt(luks.length), 8);
  bytes.set(
    encodeHeader({
      clusterBits: 16,
      virtualSize: 2 ** 20,
      l1Offset: CLUSTER,
      l1Entries: 1,
      refcountTableOffset: 2 * CLUSTER,
      refcountTableClusters: 1,
      backing: undefined,
    }),
  );
  bytes.set(encodeExtension(TYPE_CRYPTO_HEADER, pointer), layout.WRITTEN_HEADER_BYTES);
  bytes.writeUInt32BE(2, layout.CRYPT_METHOD_AT);
  bytes.writeBigUInt64BE(BigInt(3 * CLUSTER), 2 * CLUSTER);
  for (let i = 0; i < clusters; i++) bytes.writeUInt16BE(1, 3 * CLUSTER + 2 * i);
  return Buffer.concat([bytes, luks]);
}

/**
 * The same with data from the disk's third cluster on.
 * @param encrypt encrypts in place what is to lie at a host offset, which numbers its sectors
 */
export function imageWithData(
  luks: Buffer,
  data: Buffer,
  encrypt: (bytes: Buffer, host: number) => void,
): Buffer {
  const image = imageWithHeader(luks);
  const l2 = Buffer.alloc(CLUSTER);
  const at = image.length + CLUSTER;
  image.writeBigUInt64BE(BigInt(image.length) | COPIED, CLUSTER);
  for (let i = 0; i * CLUSTER < data.length; i++) {
    l2.writeBigUInt64BE(BigInt(at + i * CLUSTER) | COPIED, (2 + i) * 8);
  }
  const stored = Buffer.from(data);
  encrypt(stored, at);
  return Buffer.concat([image, l2, stored]);
}
