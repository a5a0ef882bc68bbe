import { FieldReader, lengthAndString, readString } from './bytes.ts';
import { ProtocolFault } from './fault.ts';

/** A metadata context that was agreed on: the number that block status replies call it by. */
export interface MetaContext {
  readonly id: number;
  readonly name: string;
}

/** What `NBD_OPT_SET_META_CONTEXT` and `NBD_OPT_LIST_META_CONTEXT` ask for. */
export interface MetaContextRequest {
  readonly exportName: string;
  readonly queries: readonly string[];
}

/** Data of `NBD_OPT_SET_META_CONTEXT`. */
export function encodeMetaContexts(exportName: string, names: readonly string[]): Buffer {
  const count = Buffer.alloc(4);
  count.writeUInt32BE(names.length);
  return Buffer.concat([lengthAndString(exportName), count, ...names.map(lengthAndString)]);
}

/** @throws ProtocolFault when lengths and the data do not agree, or a name is no string */
export function parseMetaContexts(data: Buffer): MetaContextRequest {
  const fields = new FieldReader(data, 'the choice of metadata contexts');
  const exportName = fields.string('the name of an export');
  const queries: string[] = [];
  // The count is not believed: each query takes up data, which end.
  for (let left = fields.uint32(); left > 0; left--) queries.push(fields.string('a metadata query'));
  fields.end();
  return { exportName, queries };
}

/** Data of `NBD_REP_META_CONTEXT`. */
export function encodeMetaContext({ id, name }: MetaContext): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(id);
  return Buffer.concat([head, Buffer.from(name, 'utf8')]);
}

/** Parses the data of `NBD_REP_META_CONTEXT`. @throws ProtocolFault */
export function parseMetaContext(data: Buffer): MetaContext {
  if (data.length < 4) throw new ProtocolFault(`a metadata context has ${data.length} bytes`);
  return { id: data.readUInt32BE(0), name: readString(data.subarray(4), 'the name of a metadata context') };
}
