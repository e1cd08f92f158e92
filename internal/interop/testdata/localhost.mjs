// MSAL Node at an authority of this machine, as docs/emulator.md says.
import { ConfidentialClientApplication } from "@azure/msal-node";

const authority = process.argv[2];
const app = new ConfidentialClientApplication({
  auth: { clientId: "7a11e51e-1001-4000-8000-000000000001", clientSecret: "daemon~secret", authority, knownAuthorities: [new URL(authority).host] },
});
const reply = await app.acquireTokenByClientCredential({ scopes: ["api://orders/.default"] });
console.log(JSON.stringify({ access_token: reply.accessToken }));
