// Credentials of programs in @azure/identity: one line of JSON a flow.
import { ClientCertificateCredential, ClientSecretCredential, ManagedIdentityCredential, OnBehalfOfCredential, WorkloadIdentityCredential } from "@azure/identity";

const [tenant, daemon, secret, pem, tokenFilePath, otherFile, orders, ordersSecret, userAssertionToken] = process.argv.slice(2);

async function flow(name, credential, scope = "api://orders/.default") {
  let reply;
  try {
    reply = { access_token: (await credential().getToken(scope)).token };
  } catch (e) {
    reply = { error: e.name, error_description: e.message };
  }
  console.log(JSON.stringify({ flow: name, ...reply }));
}

await flow("ClientSecretCredential", () => new ClientSecretCredential(tenant, daemon, secret));
await flow("ClientSecretCredential, a wrong secret", () => new ClientSecretCredential(tenant, daemon, "x"));
await flow("ClientCertificateCredential", () => new ClientCertificateCredential(tenant, daemon, pem));
await flow("WorkloadIdentityCredential", () => new WorkloadIdentityCredential({ tenantId: tenant, clientId: daemon, tokenFilePath }));
await flow("WorkloadIdentityCredential, another service account", () => new WorkloadIdentityCredential({ tenantId: tenant, clientId: daemon, tokenFilePath: otherFile }));
await flow("OnBehalfOfCredential", () => new OnBehalfOfCredential({ tenantId: tenant, clientId: orders, clientSecret: ordersSecret, userAssertionToken }), "https://graph.microsoft.com/User.Read");
await flow("ManagedIdentityCredential, App Service", () => new ManagedIdentityCredential());
