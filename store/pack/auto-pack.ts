import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { FAN_OUT_DIGITS } from '../../objects/index.ts';
import type { Store } from '../store.ts';
import { staysAsItIs } from './plan.ts';

/** Ids are spread evenly, so one of 256 folders tells about all (git: builtin/gc.c, `too_many_loose_objects`). */
const SAMPLE_FOLDER = '17';
const FOLDERS = 16 ** FAN_OUT_DIGITS;

/** Packs from which on a commit starts `pack`: packing by itself leaves fewer, so these are commits' own. */
const MOST_PACKS = 16;

/** Whether a store has so many loose objects, or packs, that a commit should start packing it; cheap. Never when `imgstore.autoPack` is 0. */
export function needsPacking(store: Store): boolean {
  if (store.autoPack === 0) return false;
  store.objects.packs.refresh();
  return (
    store.objects.packs.packs().filter((pack) => !staysAsItIs(pack)).length > MOST_PACKS ||
    sampledLoose(store.objects.loose.folder) >= store.autoPack
  );
}

function sampledLoose(folder: string): number {
  try {
    return readdirSync(join(folder, SAMPLE_FOLDER)).length * FOLDERS;
  } catch {
    return 0;
  }
}
