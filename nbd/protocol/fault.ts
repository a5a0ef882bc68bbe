/**
 * The other side broke the protocol. Thrown by the parsers, which know no address; who talks to the server adds it and ends
 * the connection, since where the next message begins is not known any more.
 */
export class ProtocolFault extends Error {
  override readonly name = 'ProtocolFault';
}
