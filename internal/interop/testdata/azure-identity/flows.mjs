// Runs the credentials of @azure/identity, one command a line: words separated by tabs.
import readline from "node:readline";
import { ClientSecretCredential, DeviceCodeCredential, UsernamePasswordCredential, AuthorizationCodeCredential } from "@azure/identity";

let tenant, client, credential, waiting;

async function run(w) {
  switch (w[0]) {
    case "open":
      [, tenant, client] = w;
      return "opened";
    case "ropc":
      credential = new UsernamePasswordCredential(tenant, client, w[1], w[2]);
      await credential.getToken(w[3]);
      return "token";
    case "device": {
      let told;
      const code = new Promise((resolve) => (told = resolve));
      credential = new DeviceCodeCredential({ tenantId: tenant, clientId: client, userPromptCallback: (c) => told(c.userCode) });
      waiting = credential.getToken(w[1]);
      waiting.catch(() => {});
      return code;
    }
    case "device-poll":
      await waiting;
      return "token";
    case "code":
      credential = new AuthorizationCodeCredential(tenant, client, w[1], w[2]);
      await credential.getToken(w[3]);
      return "token";
    case "secret":
      await new ClientSecretCredential(tenant, w[1], w[2]).getToken(w[3]);
      return "token";
    case "silent":
      await credential.getToken(w[1]);
      return "token";
  }
  throw new Error("no command " + w[0]);
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  let reply;
  try {
    reply = "ok\t" + (await run(line.split("\t")));
  } catch (e) {
    const code = /AADSTS\d+/.exec(e.message);
    reply = "error\t" + e.name + " " + (code ? code[0] : e.message);
  }
  console.log(reply.replaceAll("\n", " "));
}
process.exit(0);
