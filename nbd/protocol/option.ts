import { OPTION_MAGIC } from './constants.ts';

/** An option with its data ("Newstyle negotiation"). */
export function encodeOption(option: number, data: Uint8Array = new Uint8Array(0)): Buffer {
  const header = Buffer.alloc(16);
  header.writeBigUInt64BE(OPTION_MAGIC, 0);
  header.writeUInt32BE(option, 8);
  header.writeUInt32BE(data.length, 12);
  return Buffer.concat([header, data]);
}
