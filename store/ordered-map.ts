/**
 * Does asynchronous work on each item with at most `width` pieces in flight, and yields the results in the order of the items. This bounds the memory of
 * a pipeline and keeps its output deterministic. When the consumer stops or a piece fails, what is in flight is waited for before the generator ends, so that nothing runs on behind it.
 */
export async function* orderedMap<Item, Result>(
  items: AsyncIterable<Item>,
  width: number,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result> {
  const inFlight: Promise<Result>[] = [];
  try {
    for await (const item of items) {
      const piece = work(item);
      // Looked at when its turn comes; until then a failure must not count as unhandled.
      piece.catch(() => {});
      inFlight.push(piece);
      if (inFlight.length >= width) yield await inFlight.shift()!;
    }
    for (let piece = inFlight.shift(); piece !== undefined; piece = inFlight.shift()) yield await piece;
  } finally {
    await Promise.allSettled(inFlight);
  }
}

/** Items that are all there already, for {@link orderedMap} and whatever else takes them as they come. */
export async function* each<Item>(items: Iterable<Item>): AsyncGenerator<Item> {
  yield* items;
}
