/** Why a tool cannot do a job on this machine: it is left out of the table, and the table says so. */
export class MissingMeans extends Error {}
