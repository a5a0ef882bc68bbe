/** The bytes of a LUKS header with all key material, wherever they lie. */
export interface LuksBytes {
  /** How many there are. */
  readonly length: number;
  /** Fills `into` with those at `offset` from their start. */
  readonly read: (offset: number, into: Buffer) => Promise<void>;
}
