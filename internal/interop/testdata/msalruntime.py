"""Drives Microsoft's msalruntime, unmodified, by lines of JSON.

It calls the broker that is on the session bus and reports what the library made
of each answer.
"""
import json
import sys
import uuid

import pymsalruntime as rt

NATIVE = "https://login.microsoftonline.com/common/oauth2/nativeclient"


def say(value):
    print(json.dumps(value), flush=True)


def parameters(c):
    p = rt.MSALRuntimeAuthParameters(c["client"], c["authority"])
    p.set_redirect_uri(NATIVE)
    p.set_requested_scopes(c["scopes"])
    if c.get("claims"):
        p.set_decoded_claims(c["claims"])
    if c.get("renew"):
        p.set_access_token_to_renew(c["renew"])
    if c.get("pop"):
        p.set_pop_params(*c["pop"])
    return p


def error(e):
    return {
        "status": str(e.get_status()).split(".")[-1].replace("Status_", ""),
        "code": e.get_error_code(), "tag": e.get_tag(), "context": e.get_context(),
    }


def account(a):
    return {
        "id": a.get_account_id(), "home": a.get_home_account_id(), "environment": a.get_environment(),
        "realm": a.get_realm(), "username": a.get_user_name(), "name": a.get_display_name(),
    }


def token(r):
    if r.get_error():
        return {"error": error(r.get_error())}
    out = {"pop": bool(r.is_pop_authorization()), "scopes": r.get_granted_scopes(), "expires": r.get_access_token_expiry_time()}
    out["token"] = r.get_authorization_header() if r.is_pop_authorization() else r.get_access_token()
    out["id_token"] = r.get_raw_id_token()
    if r.get_account():
        out["account"] = account(r.get_account())
    return out


def wait(start, convert, interactive=False, handles=None):
    data = rt.CallbackData(is_interactive=interactive)
    handle = start(lambda result, data=data: data.complete(result))
    if handles is not None:
        handles.append(handle)
    data.signal.wait()
    return convert(data.result)


def find(c):
    def read(r):
        return r.get_account() if not r.get_error() else None
    return wait(lambda done: rt.read_account_by_id(c["account"], str(uuid.uuid4()), done), read)


def run(c):
    correlation = str(uuid.uuid4())
    do = c["do"]
    window = rt.get_console_window() or rt.get_desktop_window() or 1
    if do == "signin_silently":
        return wait(lambda done: rt.signin_silently(parameters(c), correlation, done), token)
    if do == "signin_interactively":
        return wait(lambda done: rt.signin_interactively(window, parameters(c), correlation, c.get("hint"), done), token, True)
    if do == "acquire_silently":
        a = find(c)
        return wait(lambda done: rt.acquire_token_silently(parameters(c), correlation, a, done), token) if a else {"error": {"status": "none"}}
    if do == "acquire_interactively":
        a = find(c)
        return wait(lambda done: rt.acquire_token_interactively(window, parameters(c), correlation, a, done), token, True)
    if do == "cancel":
        data = rt.CallbackData(is_interactive=True)
        handle = rt.signin_interactively(window, parameters(c), correlation, c.get("hint"), lambda result, data=data: data.complete(result))
        handle.cancel_async_operation()
        data.signal.wait()
        return token(data.result)
    if do == "discover":
        def convert(r):
            if r.get_error():
                return {"error": error(r.get_error())}
            return {"accounts": [account(a) for a in r.get_accounts()]}
        return wait(lambda done: rt.discover_accounts(c["client"], correlation, done), convert)
    if do == "signout":
        a = find(c)
        return wait(lambda done: rt.signout_silently(c["client"], correlation, a, done), lambda r: {"error": error(r.get_error())} if r.get_error() else {})
    raise ValueError(do)


for line in sys.stdin:
    command = json.loads(line)
    try:
        say(run(command))
    except Exception as e:  # the test reads it
        say({"exception": f"{type(e).__name__}: {e}"})
