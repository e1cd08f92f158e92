"""Runs the credentials of azure-identity, one command a line: words separated by tabs."""
import queue
import re
import sys
import threading
import webbrowser

from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (AuthorizationCodeCredential, ClientSecretCredential, DeviceCodeCredential,
                            InteractiveBrowserCredential, UsernamePasswordCredential)

tenant = client = credential = None
waiting = None
asked = queue.Queue()


def start(target):
    """Runs target beside the commands; its outcome is taken later."""
    global waiting
    waiting = queue.Queue()
    out = waiting
    threading.Thread(target=lambda: out.put(outcome(target)), daemon=True).start()


class Browser(webbrowser.BaseBrowser):
    def open(self, url, new=0, autoraise=True):
        asked.put(url)
        return True


webbrowser.register("suite", None, Browser(), preferred=True)


def run(w):
    global tenant, client, credential
    if w[0] == "open":
        tenant, client = w[1], w[2]
        return "opened"
    if w[0] == "ropc":
        credential = UsernamePasswordCredential(client, w[1], w[2], tenant_id=tenant)
        return credential.get_token(w[3]) and "token"
    if w[0] == "device":
        credential = DeviceCodeCredential(client, tenant_id=tenant, prompt_callback=lambda _, code, __: asked.put(code))
        start(lambda: credential.get_token(w[1]) and "token")
        return asked.get(timeout=30)
    if w[0] == "interactive":
        credential = InteractiveBrowserCredential(tenant_id=tenant, client_id=client, redirect_uri=w[2])
        start(lambda: credential.get_token(w[1]) and "token")
        return asked.get(timeout=30)
    if w[0] in ("device-poll", "finish"):
        kind, text = waiting.get(timeout=90)
        if kind == "error":
            raise RuntimeError(text)
        return text
    if w[0] == "code":
        credential = AuthorizationCodeCredential(tenant, client, w[1], w[2])
        return credential.get_token(w[3]) and "token"
    if w[0] == "secret":
        return ClientSecretCredential(tenant, w[1], w[2]).get_token(w[3]) and "token"
    if w[0] == "silent":
        return credential.get_token(w[1]) and "token"
    raise RuntimeError("no command " + w[0])


def outcome(target):
    try:
        return "ok", target()
    except (ClientAuthenticationError, RuntimeError, ValueError) as e:
        code = re.search(r"AADSTS\d+", str(e))
        if str(e).startswith("refused "):
            return "error", str(e)[8:]
        return "error", type(e).__name__ + " " + (code.group() if code else str(e))


for line in sys.stdin:
    kind, text = outcome(lambda: run(line.rstrip("\n").split("\t")))
    print(kind + "\t" + str(text).replace("\n", " "), flush=True)
