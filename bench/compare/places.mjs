/**
 * Where tools store: an empty place, or one with the first disk in it.
 *
 * @module
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './measure.mjs';

/** @typedef {import('./tools.mjs').Tool} Tool */

/** A new, empty place of a tool. @param {string} work @param {Tool} tool */
export function freshPlace(work, tool) {
  const place = join(work, 'place');
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
  run(tool.init(place));
  return place;
}

/** A place with an image in it, which is made once and copied, as filling it takes long. @param {string} work @param {Tool} tool @param {string} image */
export function filledPlace(work, tool, image) {
  const kept = join(work, 'kept', tool.name.replace(/\W+/g, '-'));
  if (!existsSync(kept)) {
    const place = freshPlace(work, tool);
    run(tool.store(place, image, 'first'));
    mkdirSync(join(work, 'kept'), { recursive: true });
    run({ command: ['cp', '-a', place, kept] });
  }
  return copyPlace(work, kept);
}

/** A copy that a measured run may change. @param {string} work @param {string} kept */
export function copyPlace(work, kept) {
  const place = join(work, 'place');
  rmSync(place, { recursive: true, force: true });
  run({ command: ['cp', '-a', kept, place] });
  return place;
}
