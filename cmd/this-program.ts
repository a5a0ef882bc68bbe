import { ImgstoreError } from '../errors/index.ts';

/** How this command line is started once more: the program and its first arguments. @throws ImgstoreError `UNSUPPORTED` where that is not known */
export function thisProgram(): readonly string[] {
  const script = process.argv[1];
  if (script === undefined)
    throw new ImgstoreError(
      'UNSUPPORTED',
      'imgstore does not know by what to start a server: pass --no-serve',
    );
  return [process.execPath, script];
}
