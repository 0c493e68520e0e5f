// @growthbook/growthbook on a payload, without a network: what each unit gets.
//
//   node growthbook_evaluate.mjs CASES.json SAID.json
//
// CASES: {"payload": {...}, "keys": [...], "people": [attributes, ...]}
// SAID: for each key a list with one [value, variant or null] for each of the people.
import { readFileSync, writeFileSync } from "node:fs";
import { GrowthBookClient } from "@growthbook/growthbook";

const [cases, said] = process.argv.slice(2);
const { payload, keys, people } = JSON.parse(readFileSync(cases, "utf8"));
const client = new GrowthBookClient().initSync({ payload });

const answers = {};
for (const key of keys) {
  answers[key] = people.map((attributes) => {
    const { value, experimentResult } = client.evalFeature(key, { attributes });
    return [value, experimentResult?.inExperiment ? experimentResult.key : null];
  });
}
writeFileSync(said, JSON.stringify(answers));
console.log(JSON.stringify({ keys: keys.length, people: people.length }));
