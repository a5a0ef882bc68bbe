/**
 * The cycles of a directed graph, one for each edge that leads back to a node on the path to it.
 * @param {Map<string, { to: string, line: number, file: string }[]>} graph node → its edges
 * @returns {{ path: string[], file: string, line: number }[]} nodes from the first to itself again, with the place
 *   of the edge that closes the cycle
 */
export function findCycles(graph) {
  const cycles = [];
  const finished = new Set();
  const walk = (node, path) => {
    if (finished.has(node)) return;
    for (const { to, file, line } of graph.get(node) ?? []) {
      const at = [...path, node].indexOf(to);
      if (at < 0) walk(to, [...path, node]);
      else cycles.push({ path: [...[...path, node].slice(at), to], file, line });
    }
    finished.add(node);
  };
  for (const node of graph.keys()) walk(node, []);
  return cycles;
}
