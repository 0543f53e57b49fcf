// A platform that runs on Node and signs with the `standardwebhooks` and `svix` packages, unmodified.
//
// usage: node send_with_sdks.mjs INGEST_URL, and on standard input {"SOURCE": {"kind": KIND, "secret": SECRET}, ...}
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The packages lie in the folder that the test installed them into.
const require = createRequire(process.env.NODE_PACKAGES);
const platforms = { standardwebhooks: ["webhook", require("standardwebhooks").Webhook], svix: ["svix", require("svix").Webhook] };

const ingest = process.argv[2];
const sources = JSON.parse(readFileSync(0, "utf8"));
const report = {};
for (const [name, { kind, secret }] of Object.entries(sources)) {
  const [prefix, Webhook] = platforms[kind];
  const event = { id: randomUUID(), type: "click", time: new Date().toISOString(), link: { id: "l_77", slug: "café" } };
  const body = JSON.stringify(event);
  const id = `msg_${randomUUID()}`;
  const now = new Date();
  const send = async (text) => {
    const answer = await fetch(`${ingest}/v1/webhooks/${name}`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        [`${prefix}-id`]: id,
        [`${prefix}-timestamp`]: String(Math.floor(now / 1000)),
        [`${prefix}-signature`]: new Webhook(secret).sign(id, now, body),
      },
      body: text,
    });
    return [answer.status, await answer.json()];
  };
  const [refused] = await send(body.replace("click", "klick"));
  const [status, answer] = await send(body);
  if (status !== 202 || answer.status !== "accepted" || refused !== 401) {
    throw new Error(`${name}: ${status} ${JSON.stringify(answer)}, and a tampered body: ${refused}`);
  }
  report[name] = { receipts: [answer.receipt], keys: [event.id], refused: 1 };
}
console.log(JSON.stringify(report));
