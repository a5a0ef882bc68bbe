/** An extent of a VMDK as its descriptor has it: `RW 4192256 SPARSE "disk-s001.vmdk"`. */
export interface VmdkExtent {
  readonly access: string;
  readonly type: string;
  /** Undefined for extents without a file. */
  readonly file: string | undefined;
}

/** What a VMDK's descriptor says about other files ("Virtual Disk Format 5.0" of VMware, "The Descriptor File"). */
export interface VmdkDescriptor {
  readonly extents: readonly VmdkExtent[];
  /** It stands on another image: it has the name of one, or its content id. */
  readonly hasParent: boolean;
}

const EXTENT_PATTERN = /^[ \t]*(RW|RDONLY|NOACCESS)[ \t]+\d+[ \t]+([A-Za-z0-9]+)(?:[ \t]+"([^"\r\n]*)")?/;
const PARENT_ID_PATTERN = /^[ \t]*parentCID[ \t]*=[ \t]*([0-9a-fA-F]+)/m;
const NO_PARENT = 'ffffffff';

/**
 * Parses a descriptor, up to the first NUL.
 *
 * QEMU looks for `parentFileNameHint` anywhere, also in comments, so this does too.
 * @param text as Latin-1, which keeps every byte
 */
export function parseVmdkDescriptor(text: string): VmdkDescriptor {
  const body = text.split('\0', 1)[0]!;
  const extents = body.split('\n').flatMap((line) => {
    const match = EXTENT_PATTERN.exec(line);
    if (match === null) return [];
    const file = match[3] === undefined ? undefined : Buffer.from(match[3], 'latin1').toString('utf8');
    return [{ access: match[1]!, type: match[2]!.toUpperCase(), file }];
  });
  const parent = PARENT_ID_PATTERN.exec(body)?.[1]?.toLowerCase() ?? NO_PARENT;
  return { extents, hasParent: parent !== NO_PARENT || body.includes('parentFileNameHint') };
}
