/** AES in XTS mode with keys of 256 bits takes two of 32 bytes each; nothing takes more. */
export const MAX_KEY_BYTES = 64;
/** Every writer splits a key into this many stripes. */
export const STRIPES = 4000;
/** What a LUKS header begins with. */
export const LUKS_MAGIC = Buffer.from('LUKS\xba\xbe', 'latin1');

/** A cipher as a header names it. */
export interface LuksCipherName {
  /** `aes` */
  readonly name: string;
  /** `xts-plain64` */
  readonly mode: string;
}

/** How a password becomes the key of a slot. */
export type LuksKdf =
  | {
      readonly type: 'pbkdf2';
      readonly hash: string;
      readonly iterations: number;
      readonly salt: Uint8Array;
    }
  | {
      readonly type: 'argon2i' | 'argon2id';
      /** Passes over the memory. */
      readonly passes: number;
      readonly memoryKib: number;
      readonly lanes: number;
      readonly salt: Uint8Array;
    }
  | {
      /** One that this reader does not have. */
      readonly type: 'unknown';
      readonly name: string;
    };

/** What tells a right master key from a wrong one: PBKDF2 of the key itself. */
export interface LuksDigest {
  readonly hash: string;
  readonly iterations: number;
  readonly salt: Uint8Array;
  readonly digest: Uint8Array;
}

/** A key slot that is in use: the master key, encrypted with one that is derived from a password. */
export interface LuksSlot {
  readonly index: number;
  readonly kdf: LuksKdf;
  /** Of the key's stripes. */
  readonly cipher: LuksCipherName;
  /** Bytes of the key that the password gives. */
  readonly slotKeyBytes: number;
  /** Bytes of the master key. */
  readonly keyBytes: number;
  /** Mixes the stripes. */
  readonly stripesHash: string;
  /** Bytes from the start of the LUKS header. */
  readonly materialOffset: number;
  /** Bytes of the key's stripes; whole sectors are stored. */
  readonly materialLength: number;
  readonly digest: LuksDigest;
}

/** The disk that a header is about. Within a qcow2 its place and its size mean nothing: its clusters are the disk. */
export interface LuksSegment {
  readonly cipher: LuksCipherName;
  /** Bytes from the start of the LUKS header. */
  readonly offset: number;
  /** Bytes; undefined for all that there is. */
  readonly size: number | undefined;
  /** Bytes that are encrypted as one: 512 to 4096. */
  readonly sectorBytes: number;
  /** Number of the first 512 bytes for its initialization vector. */
  readonly firstSector: number;
}

/** A LUKS header of version 1 or 2, checked. */
export interface LuksHeader {
  readonly segment: LuksSegment;
  /** Those in use, in the order in which they are to be tried. */
  readonly slots: readonly LuksSlot[];
}
