import { RawFile } from '../../block/index.ts';
import { FOREIGN_FORMATS, type FoundForeign, findForeign } from '../../qcow2/index.ts';

/**
 * The foreign format of an image, or undefined when it has none.
 * @param wanted what the user says that it is
 * @throws ImgstoreError as RawFile.open and `findForeign` do
 */
export async function foreignFormat(
  path: string,
  wanted: string | undefined,
): Promise<FoundForeign | undefined> {
  if (wanted !== undefined) {
    const format = FOREIGN_FORMATS.find((each) => each === wanted);
    return format === undefined ? undefined : { format, guessed: false };
  }
  const file = await RawFile.open(path);
  try {
    return await findForeign(file, path);
  } finally {
    await file.close();
  }
}
