// MSAL Node behind a line protocol: a JSON command in, a JSON reply out.
import { createInterface } from "node:readline";
import { PublicClientApplication, ConfidentialClientApplication, CryptoProvider } from "@azure/msal-node";
import { EnvHttpProxyAgent, setGlobalDispatcher } from "undici";

// Node 20 does not read HTTPS_PROXY by itself, as later versions do with
// NODE_USE_ENV_PROXY.
setGlobalDispatcher(new EnvHttpProxyAgent());

let app, device, interactive, pkce;
const account = async c => (await app.getTokenCache().getAllAccounts()).find(a => a.username === c.user);
const plain = r => r && { access_token: r.accessToken, id_token: r.idToken, username: r.account?.username, fromCache: r.fromCache, scopes: r.scopes };

const commands = {
  open_app: c => {
    const auth = { clientId: c.client, authority: c.authority, clientCapabilities: c.capabilities, clientSecret: c.secret, instanceAware: c.instanceAware };
    const system = { loggerOptions: { loggerCallback() {} } };
    app = c.secret ? new ConfidentialClientApplication({ auth, system }) : new PublicClientApplication({ auth, system });
  },
  ropc: async c => plain(await app.acquireTokenByUsernamePassword({ scopes: c.scopes, username: c.user, password: c.password, claims: c.claims })),
  device_start: c => new Promise((resolve, reject) => {
    device = app.acquireTokenByDeviceCode({ scopes: c.scopes, deviceCodeCallback: d => resolve({ user_code: d.userCode, verification_uri: d.verificationUri, message: d.message, interval: d.interval }) });
    device.catch(reject);
  }),
  device_finish: async () => plain(await device),
  code_start: async c => {
    pkce = await new CryptoProvider().generatePkceCodes();
    return { url: await app.getAuthCodeUrl({ scopes: c.scopes, redirectUri: c.redirect, loginHint: c.user, prompt: c.prompt, claims: c.claims, responseMode: c.response_mode, codeChallenge: pkce.challenge, codeChallengeMethod: "S256", state: "s1" }) };
  },
  code_finish: async c => plain(await app.acquireTokenByCode({ scopes: c.scopes, redirectUri: c.redirect, codeVerifier: pkce.verifier, code: c.response.code, state: "s1" },
    { code: c.response.code, state: c.response.state, client_info: c.response.client_info, cloud_instance_host_name: c.response.cloud_instance_host_name })),
  interactive_start: c => new Promise((resolve, reject) => {
    interactive = app.acquireTokenInteractive({ scopes: c.scopes, loginHint: c.user, openBrowser: async url => resolve({ url }) });
    interactive.catch(reject);
  }),
  interactive_finish: async () => plain(await interactive),
  by_refresh_token: async c => plain(await app.acquireTokenByRefreshToken({ scopes: c.scopes, refreshToken: c.refresh_token })),
  silent: async c => plain(await app.acquireTokenSilent({ scopes: c.scopes, account: await account(c), forceRefresh: c.force, claims: c.claims })),
  accounts: async () => ({ accounts: (await app.getTokenCache().getAllAccounts()).map(a => a.username) }),
  remove: async c => { await app.getTokenCache().removeAccount(await account(c)); return commands.accounts(); },
};

for await (const line of createInterface({ input: process.stdin })) {
  const c = JSON.parse(line);
  let reply;
  try {
    reply = await commands[c.do](c);
  } catch (e) {
    reply = { exception: e.name, error: e.errorCode, error_description: e.errorMessage, suberror: e.subError, error_codes: e.errorNo ? [Number(e.errorNo)] : [], claims: e.claims };
  }
  console.log(JSON.stringify(reply ?? {}));
}
