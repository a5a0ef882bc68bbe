import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { ImgstoreError } from '../../../errors/index.ts';
import type { Store } from '../../store.ts';

/** Where sessions keep versions from `gc`, and from `git gc`. */
const REFS = 'refs/imgstore/sessions/';
/** What a part of a ref name and a file name can have, less a hash and an ending. */
const MOST_BYTES = 200;
const ENDING = '.qcow2';
const HASH_DIGITS = 12;

/** Where the overlays of a store's sessions are when nobody says otherwise. */
export function defaultOverlays(store: Store): string {
  return join(store.folder, 'imgstore', 'sessions');
}

/** The files and refs of one session. */
export interface SessionPlaces {
  readonly overlay: string;
  /** Leads to the version that the overlay stands on. */
  readonly baseRef: string;
  /** Leads to the version that was committed last, from before a branch leads there. */
  readonly lastRef: string;
}

/**
 * @param overlays real path of the folder
 * @throws ImgstoreError `BAD_NAME` for a name that is too long
 */
export function sessionPlaces(store: Store, overlays: string, name: string): SessionPlaces {
  const encoded = encode(name);
  if (encoded.length > MOST_BYTES) {
    const message = `'${name}' is too long for a session: its name would have ${encoded.length} bytes, ${MOST_BYTES} can be`;
    throw new ImgstoreError('BAD_NAME', message, { name });
  }
  // Overlays of one name can be in several folders; a dot is in no encoded name.
  const isDefault = overlays === defaultOverlays(store);
  const hash = createHash('sha256').update(overlays).digest('hex').slice(0, HASH_DIGITS);
  const ref = `${REFS}${encoded}${isDefault ? '' : `.${hash}`}`;
  return { overlay: join(overlays, encoded + ENDING), baseRef: `${ref}/base`, lastRef: `${ref}/last` };
}

/** The session's name of a file in the overlays' folder; undefined for other files. */
export function nameOfOverlay(file: string): string | undefined {
  if (!file.endsWith(ENDING)) return undefined;
  try {
    const name = decodeURIComponent(file.slice(0, -ENDING.length));
    return name !== '' && encode(name) + ENDING === file ? name : undefined;
  } catch {
    return undefined;
  }
}

/** Letters, digits, `_` and `-` as they are; every other byte as `%XX`. */
function encode(name: string): string {
  return name.replace(/[^A-Za-z0-9_-]+/g, (text) =>
    Buffer.from(text).toString('hex').toUpperCase().replace(/../g, '%$&'),
  );
}
