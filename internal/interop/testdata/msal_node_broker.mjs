// MSAL Node with its broker plugin and @azure/msal-node-runtime, as an app uses
// them. A line of JSON for each step.
import { dirname, join } from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { PublicClientApplication } from "@azure/msal-node";
import { EnvHttpProxyAgent, setGlobalDispatcher } from "undici";

// The package's own door also opens keytar, a keychain that the plugin does not
// use and that is built from source.
const extensions = dirname(createRequire(import.meta.url).resolve("@azure/msal-node-extensions/package.json"));
const { NativeBrokerPlugin } = await import(pathToFileURL(join(extensions, "dist/broker/NativeBrokerPlugin.mjs")));
setGlobalDispatcher(new EnvHttpProxyAgent());

const [client, authority, user, app2] = process.argv.slice(2);
const arm = ["https://management.azure.com/.default"];
const app = id => new PublicClientApplication({ auth: { clientId: id, authority }, broker: { nativeBrokerPlugin: new NativeBrokerPlugin() } });
const windowHandle = Buffer.from([1]);

async function step(name, run) {
  try {
    const r = await run();
    console.log(JSON.stringify({ step: name, username: r?.account?.username, access_token: r?.accessToken, token_type: r?.tokenType, scopes: r?.scopes, from_broker: r?.fromPlatformBroker, accounts: r?.accounts }));
    return r;
  } catch (e) {
    console.log(JSON.stringify({ step: name, error: e.name + " " + e.errorCode, description: e.errorMessage + " " + (e.platformBrokerError?.message ?? "") }));
  }
}

const pca = app(client);
const first = await step("interactive", () => pca.acquireTokenInteractive({ scopes: arm, loginHint: user, prompt: "select_account", windowHandle, openBrowser: async () => { throw new Error("a browser was opened"); } }));
const accounts = await pca.getAllAccounts();
await step("accounts", async () => ({ accounts: accounts.map(a => a.username) }));
const account = accounts.find(a => a.username === user) ?? first?.account;
await step("silent", () => pca.acquireTokenSilent({ scopes: arm, account }));
await step("bare scope", () => app(app2).acquireTokenSilent({ scopes: ["User.Read"], account }));
await step("claims", () => app(app2).acquireTokenSilent({ scopes: ["https://graph.microsoft.com/.default"], account, claims: '{"access_token":{"xms_cc":{"values":["cp1"]}}}' }));
await step("pop", () => pca.acquireTokenSilent({ scopes: arm, account, authenticationScheme: "pop", resourceRequestMethod: "GET", resourceRequestUri: "https://graph.microsoft.com/v1.0/me", shrNonce: "n" }));
await step("mfa", () => app(app2).acquireTokenSilent({ scopes: ["api://payroll/.default"], account }));
await step("blocked", () => app(app2).acquireTokenSilent({ scopes: ["api://vault/.default"], account }));
await step("sign out", async () => { await pca.signOut({ account }); return {}; });
process.exit(0);
