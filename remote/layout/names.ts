import { isId } from '../../objects/index.ts';

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
const PACK_PATTERN = /^packs\/([0-9a-f]{64})\.(?:pack|idx)$/;

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

/** @param digest SHA-256 of the checkpoint's bytes */
export function checkpointName(digest: string): string {
  return CHECKPOINTS + digest;
}

export function packName(pack: string): string {
  return `${PACKS}${pack}.pack`;
}

export function indexName(pack: string): string {
  return `${PACKS}${pack}.idx`;
}

/** The pack that an object below {@link PACKS} belongs to; undefined for other names. */
export function packOfName(name: string): string | undefined {
  const [, pack] = PACK_PATTERN.exec(name) ?? [];
  return pack !== undefined && isId(pack) ? pack : undefined;
}
