"""MSAL Python behind a line protocol: a JSON command in, a JSON reply out."""
import json
import queue
import sys
import threading
import webbrowser

import msal

flows = {}
app = None


def open_app(c):
    global app
    kind = msal.ConfidentialClientApplication if c.get("secret") else msal.PublicClientApplication
    app = kind(c["client"], authority=c["authority"], client_credential=c.get("secret"), client_capabilities=c.get("capabilities"))
    return {}


def account(c):
    found = [a for a in app.get_accounts(username=c["user"])]
    return found[0] if found else None


def ropc(c):
    return app.acquire_token_by_username_password(c["user"], c["password"], c["scopes"], claims_challenge=c.get("claims"))


def device_start(c):
    flows["device"] = flow = app.initiate_device_flow(c["scopes"])
    return flow


def device_pending(c):
    once = dict(flows["device"], expires_at=0)  # documented: polls once
    return app.acquire_token_by_device_flow(once)


def device_finish(c):
    return app.acquire_token_by_device_flow(flows["device"])


def code_start(c):
    flows["code"] = flow = app.initiate_auth_code_flow(
        c["scopes"], redirect_uri=c["redirect"], login_hint=c.get("user"), prompt=c.get("prompt"),
        claims_challenge=c.get("claims"), max_age=c.get("max_age"), response_mode=c.get("response_mode"))
    return {"url": flow["auth_uri"]}


def code_finish(c):
    return app.acquire_token_by_auth_code_flow(flows["code"], c["response"])


class Browser(webbrowser.BaseBrowser):
    """The browser of acquire_token_interactive: the suite's."""

    def open(self, url, new=0, autoraise=True):
        flows["url"].put(url)
        return True


def interactive_start(c):
    flows["url"] = queue.Queue()
    webbrowser.register("suite", None, Browser(), preferred=True)

    def run():
        flows["interactive"] = app.acquire_token_interactive(c["scopes"], login_hint=c["user"], timeout=60)
    flows["thread"] = threading.Thread(target=run)
    flows["thread"].start()
    return {"url": flows["url"].get(timeout=30)}


def interactive_finish(c):
    flows["thread"].join()
    return flows["interactive"]


def by_refresh_token(c):
    return app.acquire_token_by_refresh_token(c["refresh_token"], c["scopes"])


def silent(c):
    return app.acquire_token_silent_with_error(
        c["scopes"], account(c), force_refresh=c.get("force", False), claims_challenge=c.get("claims")) or {}


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
        reply = {"exception": type(e).__name__, "error_description": str(e)}
    print(json.dumps(reply), flush=True)
