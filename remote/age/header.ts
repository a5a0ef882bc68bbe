/** What each age file begins with. https://c2sp.org/age#version-line */
const VERSION_LINE = 'age-encryption.org/v1\n';

/** How many bytes tell an age file from others. */
export const VERSION_BYTES = VERSION_LINE.length;

/** Bytes that a header may have: some 600 recipients. Bounds what is read of an object that is no age file. */
export const MAX_HEADER = 64 * 1024;

/** Whether bytes from the beginning of an object are those of an age file, as all objects of an encrypted bucket are. */
export function isEncrypted(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.subarray(0, VERSION_BYTES)).toString('latin1') === VERSION_LINE;
}

/** Bytes of the header that a file begins with, its MAC included; undefined when its end is not among the bytes. */
export function headerLength(bytes: Uint8Array): number | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, MAX_HEADER));
  // Lines of stanzas begin with `->`, and those of their bodies are base64: the first with `---` is the MAC's.
  const mac = text.indexOf('\n--- ');
  const end = mac < 0 ? -1 : text.indexOf('\n', mac + 1);
  return end < 0 ? undefined : end + 1;
}
