// Says which SDKs are installed: the harness's own check that it can run them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import "@openfeature/ofrep-provider";
import "@openfeature/server-sdk";
import "@growthbook/growthbook";
import { EventSource } from "eventsource";

const { dependencies } = JSON.parse(readFileSync(join(import.meta.dirname, "..", "package.json"), "utf8"));
console.log(`node ${process.version}, event source: ${typeof EventSource}`);
console.log(JSON.stringify(dependencies));
