import { XMLParser, XMLValidator } from 'fast-xml-parser';
import { BrokenAnswer } from './fault.ts';

/** An element: text, or its children by name. Attributes are left out. */
export type XmlElement = string | { readonly [name: string]: readonly XmlElement[] };

/** S3's answers go five deep. */
const MAX_DEPTH = 12;

/** Every child is a list, so that one and many are the same; values stay text; entities are decoded here, as a document may define more of its own. */
const parser = new XMLParser({
  ignoreAttributes: true,
  ignoreDeclaration: true,
  ignorePiTags: true,
  parseTagValue: false,
  trimValues: false,
  processEntities: false,
  removeNSPrefix: true,
  maxNestedTags: MAX_DEPTH,
  isArray: () => true,
});

/**
 * Parses an answer, and returns the children of its root element.
 * @param root name that the root must have
 * @throws BrokenAnswer when it is no such document: what came may have been damaged on its way, or come from a proxy
 */
export function parseAnswer(bytes: Uint8Array, root: string): XmlElement {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
  if (text.includes('<!')) throw new BrokenAnswer('the answer is no XML as S3 has it');
  let document: XmlElement;
  try {
    if (XMLValidator.validate(text) !== true) throw new Error('not well-formed');
    document = parser.parse(text) as XmlElement;
  } catch (error) {
    throw new BrokenAnswer('the answer is no XML', undefined, error);
  }
  const [element] = childrenOf(document, root);
  if (element === undefined) throw new BrokenAnswer(`the answer is no ${root}`);
  return element;
}

/** Elements of a name within another. */
export function childrenOf(element: XmlElement, name: string): readonly XmlElement[] {
  return typeof element === 'string' || !Object.hasOwn(element, name) ? [] : (element[name] ?? []);
}

/** The text of an element within another; undefined when there is none. */
export function textOf(element: XmlElement, name: string): string | undefined {
  const [child] = childrenOf(element, name);
  return typeof child === 'string' ? decodeEntities(child) : undefined;
}

const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" };

function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|(\w+));/gi, (all, decimal, hex, name) => {
    if (name !== undefined) return ENTITIES[name as string] ?? all;
    const point = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return point <= 0x10ffff ? String.fromCodePoint(point) : all;
  });
}

/** Text as the content of an element. */
export function encodeText(text: string): string {
  return text.replace(/[&<>]/g, (character) =>
    character === '&' ? '&amp;' : character === '<' ? '&lt;' : '&gt;',
  );
}
