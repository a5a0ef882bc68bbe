import type { ObjectTable } from './object-table.ts';
import { NO_BASE } from './object-table.ts';

/** Bytes of objects that are worked on together. */
export const BATCH_BYTES = 2 * 1024 * 1024;

/** Objects that are worked on together; commits and nodes of maps are small. */
const MOST_BATCH_OBJECTS = 256;

/** Rows that come next in the pack. */
export interface RowBatch {
  readonly rows: readonly number[];
  /** Bytes of their data. */
  readonly bytes: number;
  /**
   * `search`: may become deltas. `large`: one object, too large to look for a base (an attachment; clusters are 2 MiB at most). `kept`: deltas that are taken over.
   */
  readonly kind: 'search' | 'large' | 'kept';
}

/** Cuts a sequence into batches of one kind. */
export async function* batchRows(table: ObjectTable, sequence: Uint32Array): AsyncGenerator<RowBatch> {
  let rows: number[] = [];
  let bytes = 0;
  let kind: RowBatch['kind'] = 'search';
  for (const row of sequence) {
    const size = table.size[row]!;
    const kindOfRow = table.keptBase[row] !== NO_BASE ? 'kept' : size > BATCH_BYTES ? 'large' : 'search';
    const full = rows.length === MOST_BATCH_OBJECTS || bytes + size > BATCH_BYTES;
    if (rows.length > 0 && (full || kindOfRow !== kind)) {
      yield { rows, bytes, kind };
      rows = [];
      bytes = 0;
    }
    kind = kindOfRow;
    rows.push(row);
    bytes += size;
  }
  if (rows.length > 0) yield { rows, bytes, kind };
}
