import { nobleHash, nodeHash } from '../../../objects/index.ts';
import { describeHash } from './hash-conformance.ts';

describeHash(nodeHash);
describeHash(nobleHash);
