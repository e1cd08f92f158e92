"""MSAL Python with enable_broker_on_linux, as an app uses it."""
import json
import sys

import msal

client, authority, user = sys.argv[1:4]
scopes = ["https://management.azure.com/.default"]
app = msal.PublicClientApplication(client, authority=authority, enable_broker_on_linux=True)


def say(name, r):
    keep = {k: r.get(k) for k in ("access_token", "token_type", "token_source", "error", "error_description", "scope") if r}
    print(json.dumps({"step": name, "username": (r or {}).get("id_token_claims", {}).get("preferred_username"), **keep}), flush=True)


say("interactive", app.acquire_token_interactive(scopes, parent_window_handle=app.CONSOLE_WINDOW_HANDLE, login_hint=user))
accounts = app.get_accounts(username=user)
say("silent", app.acquire_token_silent_with_error(scopes, accounts[0]))
say("refresh", app.acquire_token_silent_with_error(scopes, accounts[0], force_refresh=True))
app.remove_account(accounts[0])
print(json.dumps({"step": "removed", "left": len(app.get_accounts())}), flush=True)
