import { ImgstoreError } from '../../errors/index.ts';
import { mostInflated } from '../codec/deflate.ts';
import { codecs } from '../codec/select.ts';
import { type GitObject, MOST_OBJECT_BYTES, type ObjectHeader, parseObjectHeader } from '../object.ts';

/**
 * The header of a loose object's file, from its first {@link PREFIX_STREAM_BYTES} bytes.
 * @throws ImgstoreError `DAMAGED`.
 */
export function parseLooseHeader(file: Uint8Array): ObjectHeader {
  return parseObjectHeader(codecs().deflate.inflatePrefix(file));
}

/**
 * The object in a loose object's file. Its id is not checked here.
 * @throws ImgstoreError `DAMAGED` when the file is not one whole zlib stream of a header and as much data as it says.
 */
export function parseLoose(file: Uint8Array): GitObject {
  const { deflate } = codecs();
  const header = parseObjectHeader(deflate.inflatePrefix(file));
  const total = header.length + header.size;
  if (total > Math.min(mostInflated(file.length), MOST_OBJECT_BYTES)) {
    throw new ImgstoreError(
      'DAMAGED',
      `a loose object of ${file.length} bytes says that it holds ${header.size}`,
      {
        size: header.size,
      },
    );
  }
  const whole = deflate.inflate(file, total);
  return { type: header.type, data: whole.subarray(header.length) };
}
