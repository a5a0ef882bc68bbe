import { encodeMessage, lengthAndString, readMessage, readString } from './bytes.ts';
import { ProtocolFault } from './fault.ts';

/** One of the exports of a server. */
export interface ListedExport {
  readonly name: string;
  /** What the server says about it to people; empty if nothing. */
  readonly description: string;
}

/** Data of `NBD_REP_SERVER`. */
export function encodeListedExport({ name, description }: ListedExport): Buffer {
  return Buffer.concat([lengthAndString(name), encodeMessage(description)]);
}

/** Parses the data of `NBD_REP_SERVER`. @throws ProtocolFault */
export function parseListedExport(data: Buffer): ListedExport {
  const length = data.length < 4 ? Number.POSITIVE_INFINITY : data.readUInt32BE(0);
  if (length > data.length - 4)
    throw new ProtocolFault(`the name of an export does not fit into its ${data.length} bytes`);
  return {
    name: readString(data.subarray(4, 4 + length), 'the name of an export'),
    description: readMessage(data.subarray(4 + length)),
  };
}
