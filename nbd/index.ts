/**
 * NBD, the protocol of network block devices (doc/proto.md of NetworkBlockDevice/nbd): a client that reads an export as a
 * {@link NbdSource | BlockSource}, and a {@link NbdServer | server} of {@link NbdExport | disks}.
 *
 * Terms, as the specification has them: an *export* is a disk that a server offers under a name; *negotiation* (fixed newstyle) is what is agreed on
 * by *options* before *transmission*, where *requests* carry a *cookie* that their replies repeat; a *structured reply* comes in *chunks*; a *metadata context* is
 * something that a server can tell about ranges, `base:allocation` for where data and holes are.
 *
 * `protocol/` encodes and parses messages and touches no socket; `transport/` connects and reads exact numbers of bytes; `client/` negotiates,
 * keeps requests and replies together, and is the disk; `server/` listens, negotiates, and answers requests from exports. `qmp/` talks to the monitor
 * of a QEMU, which can be made to serve the disks of its machine, and to the agent in its guest.
 *
 * @module
 */
export { listExports, type NbdOptions } from './client/open.ts';
export { NbdSource, type StatusRange } from './client/source.ts';
export { ALLOCATION_CONTEXT } from './protocol/constants.ts';
export type { BlockSizes } from './protocol/export-info.ts';
export type { ListedExport } from './protocol/listed-export.ts';
export { parseQmpAddress } from './qmp/address.ts';
export { GuestAgent, type GuestAgentOptions } from './qmp/agent.ts';
export { isRefusal, QmpClient, type QmpEvent, type QmpOptions } from './qmp/client.ts';
export { isObject, type JsonObject } from './qmp/messages.ts';
export { type NbdExport, type NbdExports, NotFast, type ZeroOptions } from './server/export.ts';
export { NbdServer, type NbdServerOptions } from './server/server.ts';
export type { ServerTls } from './server/tls.ts';
export { listenOnSocket } from './server/unix-socket.ts';
export { isListening, tryConnect } from './transport/listening.ts';
export { isNbdUri, NBD_PORT, type NbdAddress, type NbdLocation, nbdUri, parseNbdUri } from './uri.ts';
