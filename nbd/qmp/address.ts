import { ImgstoreError } from '../../errors/index.ts';
import type { NbdAddress } from '../uri.ts';

const TCP_PATTERN = /^(?:tcp:)?(\[[0-9A-Fa-f:.]+\]|[^/:[\]]*):([0-9]{1,5})(?:,.*)?$/;

/**
 * Where a monitor or a guest agent listens, as QEMU writes it: the path of a unix socket, with or without `unix:`, or
 * `HOST:PORT`, with or without `tcp:`. Options behind a comma, as in `unix:qmp.sock,server=on`, are passed over.
 * @throws ImgstoreError `USAGE`
 */
export function parseQmpAddress(text: string): NbdAddress {
  const tcp = TCP_PATTERN.exec(text);
  if (tcp === null || text.startsWith('unix:')) {
    const path = text.startsWith('unix:') ? text.slice('unix:'.length).replace(/,.*$/s, '') : text;
    if (path !== '') return { path };
  } else {
    const [, host = '', port = ''] = tcp;
    const number = Number(port);
    if (number >= 1 && number <= 65535)
      return { host: host === '' ? 'localhost' : host.replace(/^\[|\]$/g, ''), port: number };
  }
  throw new ImgstoreError(
    'USAGE',
    `${JSON.stringify(text)} is no address of a QEMU's monitor: write the path of its socket, or HOST:PORT`,
    { address: text },
  );
}
