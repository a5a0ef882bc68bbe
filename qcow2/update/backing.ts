import type { InPlaceFile } from '../../block/index.ts';
import { encodeExtension, TYPE_BACKING_FORMAT, TYPE_END } from '../meta/extensions.ts';
import { unsupported } from '../meta/fault.ts';
import type { Qcow2Header } from '../meta/header.ts';
import type { HeaderExtension } from '../meta/header-encode.ts';
import * as layout from '../meta/layout.ts';

/** What an image is put onto. */
export interface NewBacking {
  /** As the header is to have it. */
  readonly file: string;
  readonly format: 'qcow2' | 'raw';
  /** Goes before all other extensions, in the place of one of its kind. */
  readonly extension: HeaderExtension;
}

/**
 * The bytes of a header, with its extensions and the backing file's name, that puts an image onto another file and leaves all else as it is.
 * @param file of the image @param image its name, for errors
 * @throws ImgstoreError `UNSUPPORTED` when that does not fit the first cluster
 */
export function headerOn(
  file: InPlaceFile,
  header: Qcow2Header,
  backing: NewBacking,
  image: string,
): Uint8Array {
  const clusterSize = 2 ** header.clusterBits;
  const before = Buffer.alloc(clusterSize);
  file.read(0, before);
  const fixedBytes =
    header.version === 2 ? layout.V2_HEADER_BYTES : before.readUInt32BE(layout.HEADER_LENGTH_AT);
  const { extension } = backing;
  const replaced: readonly number[] = [extension.type, TYPE_BACKING_FORMAT, TYPE_END];
  const kept = header.extensions.list.filter(({ type }) => !replaced.includes(type));
  const format = { type: TYPE_BACKING_FORMAT, data: Buffer.from(backing.format) };
  const end = { type: TYPE_END, data: new Uint8Array() };
  const extensions = [extension, format, ...kept, end].map(({ type, data }) => encodeExtension(type, data));
  const name = Buffer.from(backing.file);
  const bytes = Buffer.concat([before.subarray(0, fixedBytes), ...extensions, name]);
  if (bytes.length > clusterSize || name.length > layout.MAX_BACKING_NAME_BYTES) {
    throw unsupported(
      image,
      `its header has no room for the backing file's name ${JSON.stringify(backing.file)}: put that file into a nearer folder`,
      { name: backing.file },
    );
  }
  bytes.writeBigUInt64BE(BigInt(bytes.length - name.length), layout.BACKING_OFFSET_AT);
  bytes.writeUInt32BE(name.length, layout.BACKING_SIZE_AT);
  // What the header before had behind that would be taken for nothing, but is no use either.
  const oldEnd = Math.max(bytes.length, before.findLastIndex((byte) => byte !== 0) + 1);
  return Buffer.concat([bytes, Buffer.alloc(oldEnd - bytes.length)]);
}
