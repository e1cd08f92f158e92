# Credentials of programs in azure-identity for Python: one line of JSON a flow.
import json
import sys

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CertificateCredential, ClientSecretCredential, ManagedIdentityCredential, OnBehalfOfCredential, WorkloadIdentityCredential

tenant, daemon, secret, pem, token_file, other_file, orders, orders_secret, assertion = sys.argv[1:10]
app = "api://orders/.default"


def flow(name, credential, scope=app):
    try:
        reply = {"access_token": credential().get_token(scope).token}
    except ClientAuthenticationError as e:
        reply = {"error": type(e).__name__, "error_description": e.message}
    print(json.dumps({"flow": name, **reply}), flush=True)


flow("ClientSecretCredential", lambda: ClientSecretCredential(tenant, daemon, secret))
flow("ClientSecretCredential, a wrong secret", lambda: ClientSecretCredential(tenant, daemon, "x"))
flow("CertificateCredential", lambda: CertificateCredential(tenant, daemon, pem))
flow("WorkloadIdentityCredential", lambda: WorkloadIdentityCredential(tenant_id=tenant, client_id=daemon, token_file_path=token_file))
flow("WorkloadIdentityCredential, another service account", lambda: WorkloadIdentityCredential(tenant_id=tenant, client_id=daemon, token_file_path=other_file))
flow("OnBehalfOfCredential", lambda: OnBehalfOfCredential(tenant, orders, client_secret=orders_secret, user_assertion=assertion), "https://graph.microsoft.com/User.Read")
flow("ManagedIdentityCredential, App Service", lambda: ManagedIdentityCredential())
