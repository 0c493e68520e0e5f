// Evaluates flags with the OpenFeature SDK and its OFREP provider.
// Usage: ofrep_evaluate.mjs URL '[{"key", "type", "default", "context"}]'; prints the details of each as JSON.

import { OpenFeature } from "@openfeature/server-sdk";
import { OFREPProvider } from "@openfeature/ofrep-provider";

const [url, text] = process.argv.slice(2);
await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: url }));
const client = OpenFeature.getClient();
const ask = {
  boolean: client.getBooleanDetails.bind(client),
  string: client.getStringDetails.bind(client),
  number: client.getNumberDetails.bind(client),
  object: client.getObjectDetails.bind(client),
};

const answers = [];
for (const question of JSON.parse(text)) {
  const details = await ask[question.type](question.key, question.default, question.context);
  console.log(`${question.key}: ${JSON.stringify(details.value)} (${details.reason}, ${details.variant ?? details.errorCode})`);
  answers.push(details);
}
console.log(JSON.stringify(answers));
