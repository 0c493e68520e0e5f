// @growthbook/growthbook with a sticky bucket service: what each unit gets from one payload after the other.
//
//   node growthbook_sticky.mjs CASES.json SAID.json FEATURE
//
// CASES: {"payloads": [{...}, ...], "people": [attributes, ...]}
// SAID: for each payload a list with one [value, variant or null] for each of the people.
import { readFileSync, writeFileSync } from "node:fs";
import { GrowthBookClient, StickyBucketService } from "@growthbook/growthbook";

class InMemory extends StickyBucketService {
  documents = new Map();
  async getAssignments(name, value) {
    return this.documents.get(this.getKey(name, value)) ?? null;
  }
  async saveAssignments(document) {
    this.documents.set(this.getKey(document.attributeName, document.attributeValue), document);
  }
}

const [cases, said, feature] = process.argv.slice(2);
const { payloads, people } = JSON.parse(readFileSync(cases, "utf8"));
const store = new InMemory();
const answers = [];
for (const payload of payloads) {
  const client = new GrowthBookClient().initSync({ payload });
  const answer = [];
  for (const attributes of people) {
    const known = await client.applyStickyBuckets({ attributes: { id: attributes.id } }, store);
    const { value, experimentResult } = client.evalFeature(feature, known);
    answer.push([value, experimentResult?.inExperiment ? experimentResult.key : null]);
  }
  answers.push(answer);
}
writeFileSync(said, JSON.stringify(answers));
console.log(JSON.stringify({ payloads: payloads.length, people: people.length, remembered: store.documents.size }));
