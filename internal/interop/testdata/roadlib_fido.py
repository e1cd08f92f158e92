"""roadlib signs a passkey challenge with a Windows Hello key, as roadtx
fidoauth does: key file, tenant, user, challenge in; the assertion out."""
import json
import sys

from roadtools.roadlib.auth import Authentication
from roadtools.roadlib.deviceauth import DeviceAuthentication
from roadtools.roadlib.webauthn import EntraIDFIDOAuthenticator

key, tenant, user, challenge = sys.argv[1:]
device = DeviceAuthentication(Authentication())
device.loadhellokey(key)
fido = EntraIDFIDOAuthenticator(deviceauth=device, tenant_id=tenant, user_id=user)
print(json.dumps(fido.authenticate_with_fido(challenge)))
