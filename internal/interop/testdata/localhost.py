# MSAL Python at an authority of this machine, as docs/emulator.md says.
import json
import sys

import msal

app = msal.ConfidentialClientApplication(
    "7a11e51e-1001-4000-8000-000000000001", client_credential="daemon~secret", authority=sys.argv[1], instance_discovery=False)
reply = app.acquire_token_for_client(scopes=["api://orders/.default"])
print(json.dumps({k: v for k, v in reply.items() if isinstance(v, (str, list))}))
