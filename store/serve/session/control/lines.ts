import { ImgstoreError } from '../../../../errors/index.ts';
import { MOST_LINE_BYTES } from './messages.ts';

const LINE_END = 0x0a;

/** Cuts what comes on a stream into lines, of bounded length. */
export class Lines {
  #open: Buffer[] = [];
  #openBytes = 0;

  /** The lines that a chunk completes, without their ends. @throws ImgstoreError `USAGE` for one that is too long */
  push(chunk: Buffer): readonly string[] {
    const lines: string[] = [];
    let from = 0;
    for (let end = chunk.indexOf(LINE_END); end >= 0; end = chunk.indexOf(LINE_END, from)) {
      lines.push(Buffer.concat([...this.#open, chunk.subarray(from, end)]).toString('utf8'));
      this.#open = [];
      this.#openBytes = 0;
      from = end + 1;
    }
    if (from === chunk.length) return lines;
    this.#open.push(chunk.subarray(from));
    this.#openBytes += chunk.length - from;
    if (this.#openBytes > MOST_LINE_BYTES)
      throw new ImgstoreError('USAGE', `control: a line has more than ${MOST_LINE_BYTES} bytes`);
    return lines;
  }
}
