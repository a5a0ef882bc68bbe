/**
 * Reads 64 KiB at random places that hold data, of a file or of a committed disk, and prints as JSON how long that took without the opening.
 * The first reads find nothing in the program's own caches.
 *
 * usage: node bench/compare/random-reads.mjs file FILE READS
 *        node bench/compare/random-reads.mjs store STORE REV READS
 */
import { RawFile } from 'imgstore/block';
import { DiskSource, findDisk, readVersion, resolveCommit, Store } from 'imgstore/store';

const READ_BYTES = 64 * 1024;

const [kind, path, ...rest] = process.argv.slice(2);
const reads = Number(rest.at(-1));
const source = kind === 'store' ? await committedDisk(path, rest[0]) : await RawFile.open(path);
const places = await placesWithData(source);
const random = randomNumbers();
const into = Buffer.alloc(READ_BYTES);
const started = performance.now();
for (let read = 0; read < reads; read++)
  await source.read(places[Math.floor(random() * places.length)], into);
const seconds = (performance.now() - started) / 1000;
console.log(JSON.stringify({ seconds, peakBytes: process.resourceUsage().maxRSS * 1024 }));

/** @param {string} folder @param {string} revision */
async function committedDisk(folder, revision) {
  const store = await Store.open(folder);
  const version = readVersion(store.objects, await resolveCommit(store, revision));
  return new DiskSource(store.objects, findDisk(version, undefined));
}

/** Offsets of whole reads that lie in data. @param {import('imgstore/block').BlockSource} source */
async function placesWithData(source) {
  const places = [];
  for await (const { offset, length, kind } of source.extents(0, source.size)) {
    if (kind !== 'data') continue;
    const first = Math.ceil(offset / READ_BYTES) * READ_BYTES;
    for (let at = first; at + READ_BYTES <= offset + length; at += READ_BYTES) places.push(at);
  }
  return places;
}

/** The same numbers in [0, 1) in every run: xorshift of 32 bits (Marsaglia 2003). */
function randomNumbers() {
  let state = 0x9e3779b9;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}
