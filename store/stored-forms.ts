import type { ObjectId } from '../objects/index.ts';
import { type Pack, PackSurvey } from '../pack/index.ts';
import type { ObjectDatabase } from './objects/database.ts';

/** How one object is stored. */
export interface StoredForm {
  /** Deltas that lead to it; 0 for one that is whole. */
  readonly depth: number;
  /** Bytes before deflate: of the object, or of its delta. */
  readonly inflated: number;
  /** Bytes that it takes in its pack or file. */
  readonly stored: number;
}

/** How the objects of a store are stored. Each pack is looked at once. */
export class StoredForms {
  readonly #database: ObjectDatabase;
  readonly #surveys = new Map<Pack, PackSurvey>();

  constructor(database: ObjectDatabase) {
    this.#database = database;
  }

  /** @param size bytes of the object's data. Undefined when it is not there. @throws ImgstoreError `DAMAGED`. */
  of(id: ObjectId, size: number): StoredForm | undefined {
    const form = this.#packed(id);
    if (form !== undefined) return form;
    const stored = this.#database.loose.fileSize(id);
    if (stored !== undefined) return { depth: 0, inflated: size, stored };
    return this.#database.packs.distrustMidx(id) ? this.#packed(id) : undefined;
  }

  #packed(id: ObjectId): StoredForm | undefined {
    const place = this.#database.packs.find(id);
    const position = place?.pack.idx.find(id);
    return place === undefined || position === undefined ? undefined : this.at(place.pack, position);
  }

  /** Of the object at a position of a pack's index. @throws ImgstoreError `DAMAGED`. */
  at(pack: Pack, position: number): StoredForm {
    const { depth, inflated, stored } = this.survey(pack);
    return { depth: depth[position]!, inflated: inflated[position]!, stored: stored[position]! };
  }

  survey(pack: Pack): PackSurvey {
    let survey = this.#surveys.get(pack);
    if (survey === undefined) {
      survey = new PackSurvey(pack);
      this.#surveys.set(pack, survey);
    }
    return survey;
  }
}
