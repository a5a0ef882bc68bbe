/**
 * A number of things in a message: `1 pack`, `3 packs`.
 * @param noun of one of them
 * @param nouns of none or several, where that is not `noun` with an s
 */
export function counted(count: number, noun: string, nouns = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : nouns}`;
}
