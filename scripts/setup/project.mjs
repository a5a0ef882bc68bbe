import { fileURLToPath } from 'node:url';

/** The project's folder, whatever folder a script is started in. */
export const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
