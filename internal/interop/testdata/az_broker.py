"""The Azure CLI, with MSAL's broker on.

The Azure CLI 2.91 turns MSAL's broker on for Windows and macOS
(core.enable_broker_on_windows, core.enable_broker_on_mac) and has no setting
for Linux. All that is changed here is that one argument of its
PublicClientApplication; the rest is the program as it is installed.
"""
import runpy

import msal


class WithBroker(msal.PublicClientApplication):
    def __init__(self, client_id, **kwargs):
        super().__init__(client_id, enable_broker_on_linux=True, **kwargs)


msal.PublicClientApplication = WithBroker
runpy.run_module("azure.cli", run_name="__main__")
