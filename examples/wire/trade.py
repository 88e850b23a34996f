"""A key, an order and its end, in Python without packages: LATCHKEY_URL and WALLET_PRIVATE_KEY say where and for whom."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

import stacks

URL = os.environ.get("LATCHKEY_URL", "http://127.0.0.1:8787") + "/api/v1"
KEY = os.environ["WALLET_PRIVATE_KEY"]
NETWORK = os.environ.get("STACKS_NETWORK", "devnet")
ADDRESS = stacks.address(KEY, NETWORK)


def call(method, path, body=None, headers=None):
    """Returns the JSON of a success; ends with the code and details of a refusal."""
    request = urllib.request.Request(URL + path, method=method, headers=dict(headers or {}))
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        refusal = json.load(error)
        sys.exit(f"{method} {path}: {refusal['code']} {json.dumps(refusal.get('details'))}")


def signed(action, **members):
    """The text is sent exactly as it was signed. Off devnet it names the service: domain=.. of the site that is traded on."""
    if "LATCHKEY_DOMAIN" in os.environ:
        members["domain"] = os.environ["LATCHKEY_DOMAIN"]
    message = json.dumps({"action": action, **members, "timestamp": int(time.time() * 1000)})
    return {
        "message": message,
        "signature": stacks.sign_message(KEY, message),
        "walletAddress": ADDRESS,
    }


def place(info, api_key):
    # Off devnet compare network and router with what you know: a router can spend what an intent names.
    order = {
        "owner": ADDRESS,
        "inputToken": info["devnet"]["inputToken"],
        "outputToken": info["devnet"]["outputToken"],
        "amountIn": "1000000",
        "uuid": str(uuid.uuid4()),
    }
    router = info["routerContract"]
    order["signature"] = stacks.sign_intent(
        KEY, NETWORK, order["inputToken"], order["amountIn"], order["uuid"], router
    )
    return call("POST", "/orders/new", order, {"X-API-Key": api_key})["data"]["uuid"]


def watch(order):
    """Server-sent events: a line of data for each change, until the order has ended."""
    with urllib.request.urlopen(f"{URL}/orders/{order}/events", timeout=60) as stream:
        for line in stream:
            if line.startswith(b"data: "):
                change = json.loads(line[6:])
                print("  ", change["status"], change.get("txid", ""))
                yield change["status"]


def main():
    info = call("GET", "/info")
    call("POST", "/devnet/faucet", {"address": ADDRESS})
    members = {"keyName": f"python {uuid.uuid4()}", "permissions": ["create", "execute", "cancel"]}
    key = call("POST", "/api-keys", signed("create_api_key", **members))
    bot = {"X-API-Key": key["apiKey"]}
    print("key", key["keyId"])

    executed = place(info, key["apiKey"])
    print("executes", executed)
    call("POST", f"/orders/{executed}/execute", headers=bot)
    *_, last = watch(executed)

    cancelled = place(info, key["apiKey"])
    status = call("PATCH", f"/orders/{cancelled}/cancel", headers=bot)["data"]["status"]
    print("cancels", cancelled, status)

    print(call("DELETE", f"/api-keys/{key['keyId']}", signed("delete_api_key", keyId=key["keyId"]))["message"])
    if last != "confirmed":
        sys.exit(f"the order ended as {last}")


main()
