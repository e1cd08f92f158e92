"""Yubico's python-fido2 as a program that uses a security key: reports of 64 bytes on
standard input and output, and the outcome, as JSON, on standard error.

register PIN RP              sets the PIN and makes a credential
assert PIN RP PROTOCOL ID X Y  asserts by a PIN protocol, and as a browser does
"""
import json
import os
import sys

from fido2.client import DefaultClientDataCollector, Fido2Client, UserInteraction
from fido2.cose import ES256
from fido2.ctap import CtapError
from fido2.ctap2 import ClientPin, Ctap2
from fido2.ctap2.pin import PinProtocolV1, PinProtocolV2
from fido2.hid import CtapHidDevice
from fido2.hid.base import CtapHidConnection, HidDescriptor
from fido2.utils import sha256
from fido2.webauthn import (
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialRequestOptions,
)


class Pipes(CtapHidConnection):
    def read_packet(self):
        packet = b""
        while len(packet) < 64:
            part = os.read(0, 64 - len(packet))
            if not part:
                raise OSError("unplugged")
            packet += part
        return packet

    def write_packet(self, data):
        assert len(data) == 64
        os.write(1, data)

    def close(self):
        pass


class User(UserInteraction):
    def __init__(self, pin):
        self.pin, self.touches = pin, 0

    def prompt_up(self):
        self.touches += 1

    def request_pin(self, permissions, rp_id):
        return self.pin


def register(ctap, pin, rp):
    p = ClientPin(ctap)
    p.set_pin(pin)
    token = p.get_pin_token(pin, ClientPin.PERMISSION.MAKE_CREDENTIAL, rp)
    digest = sha256(b"register")
    made = ctap.make_credential(
        digest,
        {"id": rp, "name": rp},
        {"id": b"handle of kim", "name": "kim@contoso.example"},
        [{"type": "public-key", "alg": -7}],
        options={"rk": True},
        pin_uv_param=p.protocol.authenticate(token, digest),
        pin_uv_protocol=p.protocol.VERSION,
    )
    data = made.auth_data.credential_data
    return {
        "id": data.credential_id.hex(),
        "x": data.public_key[-2].hex(),
        "y": data.public_key[-3].hex(),
        "protocol": p.protocol.VERSION,
    }


def check(ctap, device, pin, rp, protocol, cred, x, y):
    p = ClientPin(ctap, {1: PinProtocolV1, 2: PinProtocolV2}[protocol]())
    before = p.get_pin_retries()[0]
    wrong = None
    try:
        p.get_pin_token("9999", ClientPin.PERMISSION.GET_ASSERTION, rp)
    except CtapError as e:
        wrong = e.code
    after = p.get_pin_retries()[0]
    token = p.get_pin_token(pin, ClientPin.PERMISSION.GET_ASSERTION, rp)
    digest = sha256(b"assert")
    public = ES256({1: 2, 3: -7, -1: 1, -2: x, -3: y})
    allow = [{"type": "public-key", "id": cred}]
    made = ctap.get_assertion(
        rp,
        digest,
        allow,
        pin_uv_param=p.protocol.authenticate(token, digest),
        pin_uv_protocol=protocol,
    )
    public.verify(made.auth_data + digest, made.signature)
    user = User(pin)
    client = Fido2Client(device, DefaultClientDataCollector("https://" + rp), user)
    chosen = client.get_assertion(
        PublicKeyCredentialRequestOptions(
            challenge=b"challenge",
            rp_id=rp,
            allow_credentials=[PublicKeyCredentialDescriptor(type="public-key", id=cred)],
            user_verification="required",
        )
    ).get_response(0)
    r = chosen.response
    public.verify(r.authenticator_data + sha256(r.client_data), r.signature)
    return {
        "versions": ctap.info.versions,
        "wrong": wrong,
        "spent": before - after,
        "verified": r.authenticator_data.is_user_verified(),
        "touches": user.touches,
    }


def main():
    device = CtapHidDevice(HidDescriptor("pipes", 0, 0, 64, 64, "key", None), Pipes())
    ctap = Ctap2(device)
    if sys.argv[1] == "register":
        out = register(ctap, sys.argv[2], sys.argv[3])
    else:
        pin, rp, protocol = sys.argv[2], sys.argv[3], int(sys.argv[4])
        out = check(ctap, device, pin, rp, protocol, *map(bytes.fromhex, sys.argv[5:8]))
    print(json.dumps(out), file=sys.stderr)


main()
