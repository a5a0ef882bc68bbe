import { createHash } from 'node:crypto';

/** Uploads in parts that are under way at a fake S3. */
export class FakeUploads {
  /** By id: key and parts by number. */
  readonly open = new Map<string, { readonly key: string; readonly parts: Map<number, Buffer> }>();
  #count = 0;

  begin(key: string): string {
    const id = `upload+/=${++this.#count}`;
    this.open.set(id, { key, parts: new Map() });
    return id;
  }

  /** @returns the part's entity tag; undefined when there is no such upload */
  put(id: string, key: string, number: number, bytes: Buffer): string | undefined {
    const upload = this.open.get(id);
    if (upload?.key !== key) return undefined;
    upload.parts.set(number, bytes);
    return tagOf(bytes);
  }

  /** @returns the object and its entity tag; undefined when there is no such upload, or its parts are not those that are named */
  complete(id: string, key: string, document: string): { bytes: Buffer; etag: string } | undefined {
    const upload = this.open.get(id);
    const named = [...document.matchAll(/<Part><PartNumber>(\d+)<\/PartNumber><ETag>(.*?)<\/ETag><\/Part>/g)];
    if (upload?.key !== key || named.length === 0) return undefined;
    const parts = named.map(([, number, tag]) => {
      const bytes = upload.parts.get(Number(number));
      return bytes !== undefined && tagOf(bytes) === tag!.replaceAll('&quot;', '"') ? bytes : undefined;
    });
    if (parts.includes(undefined)) return undefined;
    this.open.delete(id);
    const digests = (parts as Buffer[]).map((part) => createHash('md5').update(part).digest());
    const digest = createHash('md5').update(Buffer.concat(digests)).digest('hex');
    return { bytes: Buffer.concat(parts as Buffer[]), etag: `"${digest}-${parts.length}"` };
  }
}

function tagOf(bytes: Buffer): string {
  return `"${createHash('md5').update(bytes).digest('hex')}"`;
}
