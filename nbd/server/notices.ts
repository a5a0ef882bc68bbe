import { counted } from '../../errors/index.ts';

/** Notices that can be given at once. */
const BURST = 20;
/** After so long there is room for one more. */
const REFILL_MS = 3000;
/** What was said last is not said again so soon: one client may ask for the same thing three times. */
const REPEAT_MS = 60_000;
/** The longest notice, in characters: a client chooses some of its text. */
const MOST_CHARACTERS = 1000;
/** What moves the cursor, ends a line, or turns the writing around. */
const CONTROL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** What a server tells its operator: lines of bounded length without control characters, and no more of them than somebody would read, whatever clients do. */
export class Notices {
  readonly #say: (line: string) => void;
  readonly #nowMs: () => number;
  #room = BURST;
  #filledMs: number;
  #leftOut = 0;
  #last: { readonly text: string; readonly ms: number } | undefined;

  /** @param nowMs a clock that never goes back */
  constructor(say: (line: string) => void, nowMs: () => number = () => performance.now()) {
    this.#say = say;
    this.#nowMs = nowMs;
    this.#filledMs = nowMs();
  }

  /** Gives a notice, or leaves it out when there were too many. */
  give(text: string): void {
    const ms = this.#nowMs();
    if (this.#last?.text === text && ms - this.#last.ms < REPEAT_MS) return;
    const refills = Math.floor((ms - this.#filledMs) / REFILL_MS);
    this.#filledMs += refills * REFILL_MS;
    this.#room = Math.min(BURST, this.#room + refills);
    if (this.#room === 0) {
      this.#leftOut++;
      return;
    }
    this.#room--;
    this.#last = { text, ms };
    this.sayLeftOut();
    this.#say(asLine(text));
  }

  /** Tells how many notices were left out since it was told last. */
  sayLeftOut(): void {
    const count = this.#leftOut;
    this.#leftOut = 0;
    if (count > 0) this.#say(`${counted(count, 'notice was', 'notices were')} left out`);
  }
}

function asLine(text: string): string {
  const line = text.replace(CONTROL, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
  return line.length > MOST_CHARACTERS ? `${line.slice(0, MOST_CHARACTERS)}…` : line;
}
