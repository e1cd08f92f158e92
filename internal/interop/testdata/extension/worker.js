// What linux-entra-sso does, from its messages: it waits for the host to say
// "online", asks who is signed in, and has the cookie that the host returns sent
// with the pages of the sign-in host. As in Chrome it first asks for a cookie
// that is for no page in particular; as in Firefox it asks for one for the page,
// with the nonce that is in its address, when the service sends the browser there.
const log = [], nonces = []; // nonces: those of the cookies that are asked for, in order
let account;
const show = async (state) => chrome.storage.session.set({ log: JSON.stringify(log), state });
const port = chrome.runtime.connectNative("linux_entra_sso");
port.onDisconnect.addListener(() => show("disconnected: " + (chrome.runtime.lastError?.message ?? "")));
port.onMessage.addListener(async ({ command, message }) => {
  log.push(command);
  if (message.error) return show(command + ": " + JSON.stringify(message.error));
  switch (command) {
    case "brokerStateChanged":
      if (message === "online") ["getVersion", "getAccounts"].forEach(command => port.postMessage({ command }));
      return;
    case "getAccounts":
      account = message.accounts[0];
      log.push(message.accounts.map(a => a.username));
      return ask("", "none");
    case "acquirePrtSsoCookie": {
      const cookie = message.cookieItems ? message.cookieItems[0] : message;
      await chrome.declarativeNetRequest.updateSessionRules({
        removeRuleIds: [1],
        addRules: [{
          id: 1,
          condition: { urlFilter: "|https://login.microsoftonline.com/", resourceTypes: ["main_frame", "sub_frame"] },
          action: { type: "modifyHeaders", requestHeaders: [{ header: cookie.cookieName, operation: "set", value: cookie.cookieContent }] },
        }],
      });
      return show("ready, nonce " + nonces.shift());
    }
  }
});
function ask(ssoUrl, nonce) {
  nonces.push(nonce);
  port.postMessage({ command: "acquirePrtSsoCookie", account, ssoUrl });
}
let asked;
chrome.webRequest.onBeforeRequest.addListener(({ url }) => {
  const nonce = new URL(url).searchParams.get("sso_nonce");
  if (!nonce || nonce === asked) return;
  ask(url, asked = nonce);
}, { urls: ["https://login.microsoftonline.com/*"], types: ["main_frame"] });
