import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { looseFromDeflated, nodeDeflate, type ObjectType, objectId } from '../../../objects/index.ts';

/** The path of a loose object. */
export function loosePath(folder: string, id: string): string {
  return join(folder, id.slice(0, 2), id.slice(2));
}

/** Writes a loose object below an `objects` folder and returns its id. */
export function putLoose(folder: string, type: ObjectType, data: Uint8Array, level = 1): string {
  const id = objectId(type, data);
  putLooseFile(folder, id, looseFromDeflated(type, data.length, nodeDeflate.deflate(data, level)));
  return id;
}

/** Puts a file where the loose object of this id would be. */
export function putLooseFile(folder: string, id: string, file: Uint8Array): void {
  const path = loosePath(folder, id);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, file);
}
