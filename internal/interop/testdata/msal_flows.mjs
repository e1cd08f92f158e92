// MSAL Node behind a line protocol: a JSON command in, a JSON reply out.
import { createInterface } from "node:readline";
import { PublicClientApplication, CryptoProvider } from "@azure/msal-node";
import { EnvHttpProxyAgent, setGlobalDispatcher } from "undici";

// Node 20 does not read HTTPS_PROXY by itself, as later versions do with
// NODE_USE_ENV_PROXY.
setGlobalDispatcher(new EnvHttpProxyAgent());

let app, start, device, pkce;
const account = async c => (await app.getTokenCache().getAllAccounts()).find(a => a.username === c.user);
const plain = r => r && { access_token: r.accessToken, id_token: r.idToken, username: r.account?.username, fromCache: r.fromCache, scopes: r.scopes };

const commands = {
  ropc: async c => plain(await app.acquireTokenByUsernamePassword({ scopes: c.scopes, username: c.user, password: c.password })),
  device_start: c => new Promise((resolve, reject) => {
    device = app.acquireTokenByDeviceCode({ scopes: c.scopes, deviceCodeCallback: d => resolve({ user_code: d.userCode, verification_uri: d.verificationUri, message: d.message, interval: d.interval }) });
    device.catch(reject);
  }),
  device_finish: async () => plain(await device),
  code_start: async c => {
    pkce = await new CryptoProvider().generatePkceCodes();
    return { url: await app.getAuthCodeUrl({ scopes: c.scopes, redirectUri: c.redirect, loginHint: c.user, codeChallenge: pkce.challenge, codeChallengeMethod: "S256", state: "s1" }) };
  },
  code_finish: async c => plain(await app.acquireTokenByCode({ scopes: c.scopes, redirectUri: c.redirect, codeVerifier: pkce.verifier, code: c.response.code, state: "s1" }, { code: c.response.code, state: c.response.state, client_info: c.response.client_info })),
  silent: async c => plain(await app.acquireTokenSilent({ scopes: c.scopes, account: await account(c), forceRefresh: c.force })),
  accounts: async () => ({ accounts: (await app.getTokenCache().getAllAccounts()).map(a => a.username) }),
  remove: async c => { await app.getTokenCache().removeAccount(await account(c)); return commands.accounts(); },
};

for await (const line of createInterface({ input: process.stdin })) {
  const c = JSON.parse(line);
  if (!app) {
    start = c;
    app = new PublicClientApplication({ auth: { clientId: start.client, authority: start.authority }, system: { loggerOptions: { loggerCallback() {} } } });
    continue;
  }
  let reply;
  try {
    reply = await commands[c.do](c);
  } catch (e) {
    reply = { exception: e.name, error: e.errorCode, error_description: e.errorMessage, suberror: e.subError, error_codes: e.errorNo ? [Number(e.errorNo)] : [], claims: e.claims };
  }
  console.log(JSON.stringify(reply ?? {}));
}
