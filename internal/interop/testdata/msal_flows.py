"""MSAL Python behind a line protocol: a JSON command in, a JSON reply out."""
import json
import sys

import msal

start = json.loads(sys.stdin.readline())
app = msal.PublicClientApplication(start["client"], authority=start["authority"])
flows = {}


def account(c):
    found = [a for a in app.get_accounts(username=c["user"])]
    return found[0] if found else None


def ropc(c):
    return app.acquire_token_by_username_password(c["user"], c["password"], c["scopes"])


def device_start(c):
    flows["device"] = flow = app.initiate_device_flow(c["scopes"])
    return flow


def device_pending(c):
    once = dict(flows["device"], expires_at=0)  # documented: polls once
    return app.acquire_token_by_device_flow(once)


def device_finish(c):
    return app.acquire_token_by_device_flow(flows["device"])


def code_start(c):
    flows["code"] = flow = app.initiate_auth_code_flow(c["scopes"], redirect_uri=c["redirect"], login_hint=c.get("user"))
    return {"url": flow["auth_uri"]}


def code_finish(c):
    return app.acquire_token_by_auth_code_flow(flows["code"], c["response"])


def silent(c):
    return app.acquire_token_silent_with_error(c["scopes"], account(c), force_refresh=c.get("force", False)) or {}


def accounts(c):
    return {"accounts": [a["username"] for a in app.get_accounts()]}


def remove(c):
    app.remove_account(account(c))
    return accounts(c)


for line in sys.stdin:
    command = json.loads(line)
    try:
        reply = globals()[command["do"]](command)
    except Exception as e:  # the suite decides what is a failure
        reply = {"exception": "%s: %s" % (type(e).__name__, e)}
    print(json.dumps(reply), flush=True)
