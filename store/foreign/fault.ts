import { ImgstoreError } from '../../errors/index.ts';

/** An image that is not valid, or whose format is another. @param path of the file that it is about */
export function badForeign(path: string, reason: string): ImgstoreError {
  return new ImgstoreError('BAD_IMAGE', `${path}: ${reason}`, { path });
}

/** What QEMU would read as something else than it is, or by following names that nobody has checked. */
export function unsupportedForeign(path: string, reason: string): ImgstoreError {
  return new ImgstoreError('UNSUPPORTED', `${path}: ${reason}`, { path });
}
