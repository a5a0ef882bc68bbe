/**
 * Draws which version follows which, as `git log --graph` does: a column for each line of descent that is open, `*` for
 * the version at hand. Versions must come before their parents.
 */
export class Graph {
  /** Ids that the open columns wait for. */
  #columns: string[] = [];

  /** The lines of one version with the drawing in front, and lines of drawing alone where columns join or part. */
  draw(id: string, parents: readonly string[], lines: readonly string[]): string[] {
    if (!this.#columns.includes(id)) this.#columns.push(id);
    const at = this.#columns.indexOf(id);
    const drawn: string[] = [];
    // Other columns that wait for the same version are its further children: they join here.
    for (let other = this.#columns.lastIndexOf(id); other > at; other = this.#columns.lastIndexOf(id)) {
      drawn.push(this.#row((i) => (i < other ? '|' : '/'), ''));
      this.#columns.splice(other, 1);
    }
    drawn.push(`${this.#row((i) => (i === at ? '*' : '|'), ' ')}${lines[0] ?? ''}`);
    const [first, ...merged] = parents;
    if (first === undefined) this.#columns.splice(at, 1);
    else this.#columns[at] = first;
    for (const parent of merged) {
      if (this.#columns.includes(parent)) continue;
      this.#columns.push(parent);
      drawn.push(this.#row((i) => (i < this.#columns.length - 1 ? '|' : '\\'), ''));
    }
    // A first parent that another column waits for too keeps both apart until it is drawn itself.
    return [...drawn, ...lines.slice(1).map((line) => `${this.#row(() => '|', ' ')}${line}`.trimEnd())];
  }

  #row(mark: (column: number) => string, end: string): string {
    return this.#columns.map((_, i) => mark(i)).join(' ') + end;
  }
}
