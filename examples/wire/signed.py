"""Signed requests (RFC 9421) in Python without packages: the secret of a key signs each request by HMAC-SHA-256, and is never sent.

Python's standard library has no Ed25519; signed.sh beside this file signs with openssl, for keys without a secret.

WALLET_PRIVATE_KEY grants the key; LATCHKEY_URL says where: by default http://127.0.0.1:8787, a devnet. Elsewhere LATCHKEY_NETWORK and
LATCHKEY_DOMAIN are what trade.py beside it describes.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

import stacks

URL = os.environ.get("LATCHKEY_URL", "http://127.0.0.1:8787").rstrip("/") + "/api/v1"
NETWORK = os.environ.get("LATCHKEY_NETWORK", "devnet")
KEY = os.environ.get("WALLET_PRIVATE_KEY") or sys.exit("WALLET_PRIVATE_KEY is not set")


def text_of(data):
    return base64.b64encode(data).decode()


def signature_headers(key_id, secret, method, url, body=b""):
    """The headers that sign one request. A second one needs another nonce."""
    parts = urllib.parse.urlsplit(url)
    lines = {
        "@method": method,
        "@authority": parts.netloc.lower(),
        "@path": parts.path,
        "@query": "?" + parts.query,
    }
    headers = {}
    if body:
        headers["Content-Digest"] = f"sha-256=:{text_of(hashlib.sha256(body).digest())}:"
        lines["content-digest"] = headers["Content-Digest"]
    params = "({});created={};nonce=\"{}\";keyid=\"{}\";alg=\"hmac-sha256\";tag=\"latchkey\"".format(
        " ".join(f'"{name}"' for name in lines), int(time.time()), uuid.uuid4(), key_id
    )
    lines["@signature-params"] = params
    base = "\n".join(f'"{name}": {value}' for name, value in lines.items())
    mac_key = hashlib.sha256(f"latchkey request signature v1 {secret}".encode()).digest()
    headers["Signature-Input"] = f"sig={params}"
    headers["Signature"] = f"sig=:{text_of(hmac.new(mac_key, base.encode(), hashlib.sha256).digest())}:"
    return headers


def call(method, path, body=None, headers=None, key=None):
    """Returns status and JSON of a response. With a key, an id and a secret, the request is signed."""
    data = b"" if body is None else json.dumps(body).encode()
    signed = {} if key is None else signature_headers(*key, method, URL + path, data)
    request = urllib.request.Request(URL + path, method=method, headers={**(headers or {}), **signed})
    if data:
        request.data = data
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def main():
    members = {
        "action": "create_api_key",
        "keyName": f"python {uuid.uuid4()}",
        "permissions": ["create"],
        "requireSignature": True,
        "timestamp": int(time.time() * 1000),
    }
    if "LATCHKEY_DOMAIN" in os.environ:
        members["domain"] = os.environ["LATCHKEY_DOMAIN"]
    message = json.dumps(members)
    granted = {
        "message": message,
        "signature": stacks.sign_message(KEY, message),
        "walletAddress": stacks.address(KEY, NETWORK),
    }
    status, created = call("POST", "/api-keys", granted)
    if status != 201:
        sys.exit(f"no key: {created}")
    key = (created["keyId"], created["apiKey"])
    print("key", key[0])

    print("is", call("GET", "/me", key=key)[1]["name"])
    print("lists", call("GET", "/orders?limit=1", key=key)[0])
    # A signed body: the service refuses the order for its form, and so has taken the signature.
    print("refuses the order:", call("POST", "/orders/new", {"uuid": "1"}, key=key)[1]["code"])
    print("refuses the secret:", call("GET", "/me", headers={"X-API-Key": key[1]})[1]["code"])
    print(call("DELETE", "/api-keys/self", key=key)[1]["message"])


main()
