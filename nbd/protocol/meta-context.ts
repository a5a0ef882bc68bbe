import { lengthAndString, readString } from './bytes.ts';
import { ProtocolFault } from './fault.ts';

/** A metadata context that was agreed on: the number that block status replies call it by. */
export interface MetaContext {
  readonly id: number;
  readonly name: string;
}

/** Data of `NBD_OPT_SET_META_CONTEXT`. */
export function encodeMetaContexts(exportName: string, names: readonly string[]): Buffer {
  const count = Buffer.alloc(4);
  count.writeUInt32BE(names.length);
  return Buffer.concat([lengthAndString(exportName), count, ...names.map(lengthAndString)]);
}

/** Parses the data of `NBD_REP_META_CONTEXT`. @throws ProtocolFault */
export function parseMetaContext(data: Buffer): MetaContext {
  if (data.length < 4) throw new ProtocolFault(`a metadata context has ${data.length} bytes`);
  return { id: data.readUInt32BE(0), name: readString(data.subarray(4), 'the name of a metadata context') };
}
