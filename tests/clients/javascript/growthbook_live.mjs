// @growthbook/growthbook against a running service: fetch, evaluate, track, and hear of a change over SSE.
//
//   node growthbook_live.mjs URL CLIENT_KEY FEATURE UNITS DEADLINE_S
//
// Says {"said": {unit: value}, "exposed": n} on a line of its own, then waits for a change after which every
// unit gets the same value, and says {"value", "waited_ms"}.
import { GrowthBookClient, setPolyfills } from "@growthbook/growthbook";
import { EventSource } from "eventsource";

const [url, clientKey, feature, units, deadlineS] = process.argv.slice(2);
const ids = Array.from({ length: Number(units) }, (_, n) => `js-${n}-🚀`);
setPolyfills({ EventSource });

const tracked = [];
const client = new GrowthBookClient({
  apiHost: url,
  clientKey,
  trackingCallback: (experiment, result, user) => tracked.push({ experiment, result, attributes: user.attributes }),
});
const { success, source, error } = await client.init({ streaming: true, timeout: 5000 });
if (!success) throw new Error(`no features from ${source}: ${error}`);

const all = () => Object.fromEntries(ids.map((id) => [id, client.evalFeature(feature, { attributes: { id } }).value]));
const said = all();
const response = await fetch(`${url}/v1/growthbook/exposures`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(tracked),
});
const { accepted, rejected } = await response.json();
console.log(`features from the ${source}; ${accepted} exposures taken, ${rejected.length} rejected`);
console.log(JSON.stringify({ said, exposed: accepted, tracked: tracked.map((each) => [each.result.hashValue, each.result.key]) }));

const began = performance.now();
let values;
do {
  if (performance.now() - began > Number(deadlineS) * 1000) throw new Error(`no change within ${deadlineS} s`);
  await new Promise((resolve) => setTimeout(resolve, 10));
  values = new Set(Object.values(all()));
} while (values.size > 1);
const waitedMs = Math.round(performance.now() - began);
console.log(`a change arrived over SSE after ${waitedMs} ms`);
console.log(JSON.stringify({ value: [...values][0], waited_ms: waitedMs }));
client.destroy();
process.exit(0);
