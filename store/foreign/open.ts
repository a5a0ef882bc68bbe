import type { RawFile } from '../../block/index.ts';
import { ImgstoreError } from '../../errors/index.ts';
import type { ForeignFormat } from '../../qcow2/index.ts';
import { inUseByQemu } from '../commit/in-use.ts';
import { refuseOtherFiles } from './opened-files.ts';
import { isNbdFailure, QemuNbd, requireQemuNbd } from './qemu-nbd.ts';
import { ForeignSource } from './source.ts';

/**
 * Serves an image that was checked (`checkForeign`) and reads it over NBD.
 * @param path as the user named it
 * @param files that it consists of, the image first; closed with what is returned
 * @param forceShare reads it although another QEMU writes to it
 * @throws ImgstoreError `UNSUPPORTED` where qemu-nbd is not installed, `IN_USE`, `FORBIDDEN`, `BAD_IMAGE` when QEMU does not open it
 */
export async function openForeign(
  path: string,
  format: ForeignFormat,
  files: readonly RawFile[],
  forceShare: boolean,
): Promise<ForeignSource> {
  const server = await QemuNbd.start(
    requireQemuNbd(path, format),
    imageOptions(format, files[0]!.path, forceShare),
  );
  try {
    const source = await server.connect(`${path}: qemu-nbd`);
    if (server.pid !== undefined) await refuseOtherFiles(server.pid, files, path);
    return new ForeignSource(path, source, server, files);
  } catch (error) {
    const ended = isNbdFailure(error) && (await server.hasEnded());
    await server.stop(true);
    throw ended ? notOpened(path, format, server.lastWords, error) : error;
  }
}

/** As QEMU's option syntax has it: a comma in a value is written twice. */
function imageOptions(format: ForeignFormat, path: string, forceShare: boolean): string {
  const options = [
    `driver=${format}`,
    'read-only=on',
    ...(forceShare ? ['force-share=on'] : []),
    'file.driver=file',
    `file.filename=${path.replaceAll(',', ',,')}`,
  ];
  return options.join(',');
}

function notOpened(
  path: string,
  format: ForeignFormat,
  why: string | undefined,
  cause: unknown,
): ImgstoreError {
  if (why !== undefined && /Failed to get .*lock/.test(why)) return inUseByQemu(path);
  return new ImgstoreError(
    'BAD_IMAGE',
    `${path}: QEMU does not open it as ${format}: ${why}`,
    { path, format },
    cause,
  );
}
