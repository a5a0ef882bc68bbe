/** A column's place in a line and what stands there. */
type Mark = readonly [at: number, char: string];

/**
 * Draws which version follows which, as `git log --graph` does: a column for each line of descent that is open, `*` for
 * the version at hand. Versions must come before their parents.
 */
export class Graph {
  /** Ids that the open columns wait for; two may wait for the same one. */
  #columns: string[] = [];

  /** The lines of one version with the drawing in front, and lines of drawing alone where columns join or part. */
  draw(id: string, parents: readonly string[], lines: readonly string[]): string[] {
    if (!this.#columns.includes(id)) this.#columns.push(id);
    const at = this.#columns.indexOf(id);
    const drawn = this.#join(id, at);
    drawn.push(`${line(this.#columns.map((_, i) => [2 * i, i === at ? '*' : '|']))} ${lines[0] ?? ''}`);
    if (parents.length === 0) drawn.push(...this.#end(at));
    else this.#columns[at] = parents[0]!;
    for (const [i, parent] of parents.slice(1).entries()) drawn.push(this.#part(at + i, parent));
    const open = line(this.#columns.map((_, i) => [2 * i, '|']));
    return [...drawn, ...lines.slice(1).map((text) => `${open} ${text}`.trimEnd())];
  }

  /** Other columns that wait for the version at hand are its further children: they go to its column, the last one first. */
  #join(id: string, at: number): string[] {
    const drawn: string[] = [];
    for (let from = this.#columns.lastIndexOf(id); from > at; from = this.#columns.lastIndexOf(id)) {
      drawn.push(line(this.#columns.map((_, i) => (i < from ? [2 * i, '|'] : [2 * i - 1, '/']))));
      this.#columns.splice(from, 1);
      for (let i = from - 1; i > at; i--)
        drawn.push(line([...this.#columns.map((_, column): Mark => [2 * column, '|']), [2 * i - 1, '/']]));
    }
    return drawn;
  }

  /** The column of a first version ends, and those behind it move up. */
  #end(at: number): string[] {
    const moves = this.#columns.length > at + 1;
    const drawn = line(
      this.#columns.flatMap((_, i): Mark[] => (i === at ? [] : i < at ? [[2 * i, '|']] : [[2 * i - 1, '/']])),
    );
    this.#columns.splice(at, 1);
    return moves ? [drawn] : [];
  }

  /** A further parent gets a column of its own behind `after`, and those behind that make room. */
  #part(after: number, parent: string): string {
    const kept = this.#columns.map((_, i): Mark => (i <= after ? [2 * i, '|'] : [2 * i + 1, '\\']));
    this.#columns.splice(after + 1, 0, parent);
    return line([...kept, [2 * after + 1, '\\']]);
  }
}

function line(marks: readonly Mark[]): string {
  const chars: string[] = [];
  for (const [at, char] of marks) chars[at] = char;
  return Array.from(chars, (char) => char ?? ' ').join('');
}
