import { ImgstoreError } from '../../errors/index.ts';

const ATTRIBUTE = '@';
const TEXT = '#text';

/** An element of a document of libvirt. */
export class XmlElement {
  readonly #content: Readonly<Record<string, unknown>>;

  constructor(content: unknown) {
    this.#content =
      typeof content === 'object' && content !== null
        ? (content as Record<string, unknown>)
        : { [TEXT]: content };
  }

  /** The elements of a name in it, in order. */
  all(name: string): XmlElement[] {
    const found = Object.hasOwn(this.#content, name) ? this.#content[name] : [];
    return Array.isArray(found) ? found.map((content) => new XmlElement(content)) : [];
  }

  first(name: string): XmlElement | undefined {
    return this.all(name)[0];
  }

  attribute(name: string): string | undefined {
    const value = this.#content[`${ATTRIBUTE}${name}`];
    return typeof value === 'string' ? value : undefined;
  }

  get text(): string {
    const text = this.#content[TEXT];
    return typeof text === 'string' ? text : '';
  }
}

/** Parses a document, and returns its root. @param what names it in messages @throws ImgstoreError `LIBVIRT` */
export async function parseXml(text: string, root: string, what: string): Promise<XmlElement> {
  const { XMLParser } = await import('fast-xml-parser');
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: ATTRIBUTE,
    textNodeName: TEXT,
    parseTagValue: false,
    parseAttributeValue: false,
    // Paths may begin and end with spaces.
    trimValues: false,
    // &#10; and the like.
    htmlEntities: true,
    isArray: (_name, _path, _isLeaf, isAttribute) => !isAttribute,
  });
  let why = `it has no <${root}>`;
  try {
    const found = new XmlElement(parser.parse(text, true)).first(root);
    if (found !== undefined) return found;
  } catch (error) {
    why = (error as Error).message;
  }
  throw new ImgstoreError('LIBVIRT', `${what}: is not XML as libvirt writes it: ${why}`);
}

/** What {@link formatXml} takes: elements by their names, attributes by names with `@` before them. */
export interface XmlContent {
  readonly [name: string]: string | XmlContent | readonly XmlContent[];
}

export async function formatXml(content: XmlContent): Promise<string> {
  const { XMLBuilder } = await import('fast-xml-parser');
  const builder = new XMLBuilder({
    ignoreAttributes: false,
    attributeNamePrefix: ATTRIBUTE,
    suppressEmptyNode: true,
  });
  return builder.build(content) as string;
}
