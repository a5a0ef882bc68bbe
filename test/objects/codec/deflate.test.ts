import { nodeDeflate, pakoDeflate } from '../../../objects/index.ts';
import { describeDeflate } from './deflate-conformance.ts';

describeDeflate(nodeDeflate, [pakoDeflate]);
describeDeflate(pakoDeflate, [nodeDeflate]);
