/**
 * How long the read of one random cluster of a packed store takes, by the number of deltas that lead to it: inflating, applying, and
 * the check of its id. The pages are in memory, the cache of bases is as a random reader finds it.
 *
 * usage: node bench/history/random-reads.mjs STORE [READS]     after `npm run build`
 */
import { PackSurvey } from 'imgstore/pack';
import { Store } from 'imgstore/store';

const [folder, reads = '4000'] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: random-reads.mjs STORE [READS]');
  process.exit(2);
}
const store = await Store.open(folder);
const [pack] = store.objects.packs.packs().toSorted((a, b) => b.idx.count - a.idx.count);
const survey = new PackSurvey(pack);
const clusters = Array.from({ length: pack.idx.count }, (_, position) => position).filter(
  (position) => survey.type(position) === 'blob',
);

/** By chain length: milliseconds of each read. */
const times = new Map();
const wanted = Number(reads);
for (let round = 0; round < 2; round++) {
  for (let n = 0; n < wanted; n++) {
    const position = clusters[Math.floor(Math.random() * clusters.length)];
    const id = pack.idx.id(position);
    const start = performance.now();
    store.objects.read(id);
    const took = performance.now() - start;
    // The first round warms up code and page cache.
    if (round === 0) continue;
    const depth = survey.depth[position];
    times.set(depth, [...(times.get(depth) ?? []), took]);
  }
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const whole = median(times.get(0));
console.log('deltas   reads   median ms   of whole');
for (const [depth, values] of [...times].sort(([a], [b]) => a - b)) print(String(depth), values);
print(
  'any > 0',
  [...times].filter(([depth]) => depth > 0).flatMap(([, values]) => values),
);
print('all', [...times.values()].flat());

function print(name, values) {
  if (values.length === 0) return;
  const ms = median(values);
  console.log(
    `${name.padEnd(7)}${String(values.length).padStart(7)}${ms.toFixed(3).padStart(12)}${(ms / whole).toFixed(2).padStart(11)}`,
  );
}
