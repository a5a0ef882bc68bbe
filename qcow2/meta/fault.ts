import { ImgstoreError } from '../../errors/index.ts';

/** `BAD_IMAGE` about the file `name`: its bytes break the format. `facts` name the field and the value. */
export function badImage(
  name: string,
  why: string,
  facts: Readonly<Record<string, unknown>> = {},
): ImgstoreError {
  return new ImgstoreError('BAD_IMAGE', `${name}: ${why}`, { path: name, ...facts });
}

/** `UNSUPPORTED` about the file `name`: valid, but not for this reader. */
export function unsupported(
  name: string,
  why: string,
  facts: Readonly<Record<string, unknown>> = {},
): ImgstoreError {
  return new ImgstoreError('UNSUPPORTED', `${name}: ${why}`, { path: name, ...facts });
}
