import { randomBytes } from 'node:crypto';

/** What a bucket is and how it is laid out; made once. */
export const FORMAT_NAME = 'imgstore.json';
/** One object for each move of refs. */
export const STATES = 'states/';
export const CHECKPOINTS = 'checkpoints/';
export const PACKS = 'packs/';

const STATE_DIGITS = 15;
/** Within what a number holds exactly: 2^53 has 16 digits. */
const LAST_STATE = 10 ** STATE_DIGITS - 1;
const STATE_PATTERN = /^states\/([0-9]{15})$/;

/** Of checkpoints and packs, also as encryption hides them (remote/age/hidden-name.ts). */
const CONTENT_PATTERN =
  /^(?:checkpoints\/h?[0-9a-f]{64}|packs\/(?:[0-9a-f]{64}\.[0-9a-f]{8}|h[0-9a-f]{64})\.(?:pack|idx))$/;

/** Where a state lies: what is left to the last number, so that the newest is the first that a server lists. */
export function stateName(number: number): string {
  return STATES + String(LAST_STATE - number).padStart(STATE_DIGITS, '0');
}

/** The number of the state that lies at a name; undefined for other names, and for numbers that no state has: 0, and the last, after which none could come. */
export function stateNumber(name: string): number | undefined {
  const [, digits] = STATE_PATTERN.exec(name) ?? [];
  const number = digits === undefined ? 0 : LAST_STATE - Number(digits);
  return number > 0 && number < LAST_STATE ? number : undefined;
}

/** Whether a remote may have given a name below {@link STATES}, {@link CHECKPOINTS} or {@link PACKS}: other things there, as a remote whose prefix is below, are somebody else's. */
export function isRemoteName(name: string): boolean {
  return STATE_PATTERN.test(name) || CONTENT_PATTERN.test(name);
}

/** @param digest SHA-256 of the checkpoint's bytes */
export function checkpointName(digest: string): string {
  return CHECKPOINTS + digest;
}

/** Which upload of a pack is meant: the same pack may have been sent twice, and one of the two be on its way out. */
export interface PackUpload {
  /** 64 hex digits: the pack's own checksum. */
  readonly pack: string;
  /** 8 hex digits by chance. */
  readonly upload: string;
}

/** An upload of a pack that is to begin. @param pack as in {@link PackUpload} */
export function newUpload(pack: string): PackUpload {
  return { pack, upload: randomBytes(4).toString('hex') };
}

/** A name that was never used before and never will be again, so that what is removed under it is in nobody's way. */
export function packName({ pack, upload }: PackUpload): string {
  return `${PACKS}${pack}.${upload}.pack`;
}

export function indexName({ pack, upload }: PackUpload): string {
  return `${PACKS}${pack}.${upload}.idx`;
}
