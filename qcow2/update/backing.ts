import type { InPlaceFile } from '../../block/index.ts';
import { TYPE_BACKING_FORMAT } from '../meta/extensions.ts';
import { unsupported } from '../meta/fault.ts';
import type { Qcow2Header } from '../meta/header.ts';
import type { HeaderExtension } from '../meta/header-encode.ts';
import { encodeChangedHeader } from './header.ts';

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
  const { extension } = backing;
  const replaced: readonly number[] = [extension.type, TYPE_BACKING_FORMAT];
  const kept = header.extensions.list.filter(({ type }) => !replaced.includes(type));
  const format = { type: TYPE_BACKING_FORMAT, data: Buffer.from(backing.format) };
  const changed = { extensions: [extension, format, ...kept], backingName: Buffer.from(backing.file) };
  return encodeChangedHeader(file, header, changed, () =>
    unsupported(
      image,
      `its header has no room for the backing file's name ${JSON.stringify(backing.file)}: put that file into a nearer folder`,
      { name: backing.file },
    ),
  );
}

/**
 * As {@link headerOn}, of an image that from then on stands on nothing.
 * @param extension goes in the place of one of its kind; undefined: none is changed
 * @throws ImgstoreError `UNSUPPORTED` when that does not fit the first cluster
 */
export function headerAlone(
  file: InPlaceFile,
  header: Qcow2Header,
  extension: HeaderExtension | undefined,
  image: string,
): Uint8Array {
  const extensions: HeaderExtension[] = [];
  for (const each of header.extensions.list) {
    if (each.type === TYPE_BACKING_FORMAT) continue;
    extensions.push(each.type === extension?.type ? extension : each);
  }
  const changed = { extensions, backingName: new Uint8Array() };
  return encodeChangedHeader(file, header, changed, () =>
    unsupported(image, 'its header has no room for what it says then: flatten it with qemu-img convert'),
  );
}
