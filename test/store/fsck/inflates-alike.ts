import { readFileSync } from 'node:fs';
import { inflateSync } from 'node:zlib';

/** Whether two files are loose objects that hold the same: deflate ends on a bit, and what is left of its byte is skipped (RFC 1951 section 3.2.3). */
export function inflatesAlike(one: string, other: string): boolean {
  try {
    return inflateSync(readFileSync(one)).equals(inflateSync(readFileSync(other)));
  } catch {
    return false;
  }
}
