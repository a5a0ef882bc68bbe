import { ImgstoreError } from '../../errors/index.ts';

/** `USAGE`: a caller of the writer asked for what the format, or the order of calls, does not allow. */
export function usage(why: string): ImgstoreError {
  return new ImgstoreError('USAGE', `qcow2 writer: ${why}`);
}
