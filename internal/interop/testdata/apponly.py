# Confidential clients of MSAL Python, one flow each: a line of JSON is what came back.
import json
import sys

import msal

tenant, pem, thumbprint, assertion, user_token = sys.argv[1:6]
authority = "https://login.microsoftonline.com/" + tenant
daemon, orders = "7a11e51e-1001-4000-8000-000000000001", "7a11e51e-1002-4000-8000-000000000002"
key = open(pem).read()


def run(name, credential, client=daemon, **kw):
    app = msal.ConfidentialClientApplication(client, client_credential=credential, authority=authority)
    if "user_assertion" in kw:
        reply = app.acquire_token_on_behalf_of(scopes=["https://graph.microsoft.com/User.Read"], **kw)
    else:
        reply = app.acquire_token_for_client(scopes=["api://orders/.default"])
    print(json.dumps({"flow": name, **{k: v for k, v in reply.items() if isinstance(v, (str, list))}}), flush=True)


run("confidential client, secret", "daemon~secret")
run("confidential client, a wrong secret", "x")
run("confidential client, certificate (SHA-256)", {"private_key": key, "public_certificate": key})
run("confidential client, certificate (SHA-1)", {"private_key": key, "thumbprint": thumbprint})
run("confidential client, a cluster's token", {"client_assertion": assertion})
run("on behalf of a user", "orders~secret", client=orders, user_assertion=user_token)
