"""A key, an order and its end, in Python without packages.

WALLET_PRIVATE_KEY says for whom, and LATCHKEY_URL where: by default http://127.0.0.1:8787, a devnet, whose faucet pays. The others
are for a testnet or mainnet, where the wallet holds the input token and the order trades it for real:

    LATCHKEY_NETWORK     testnet or mainnet
    LATCHKEY_DOMAIN      what its operator calls the service: signedDomain of GET /api/v1/info
    LATCHKEY_ROUTERS     the router that may spend what is signed, from its operator; committed:ROUTER for a committed one
    INPUT_TOKEN, OUTPUT_TOKEN, AMOUNT_IN, and for a committed router MIN_AMOUNT_OUT
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

import stacks

URL = os.environ.get("LATCHKEY_URL", "http://127.0.0.1:8787").rstrip("/") + "/api/v1"
NETWORK = os.environ.get("LATCHKEY_NETWORK", "devnet")
HOUR = 3600


def needed(name, on_devnet=None):
    """A variable. On a devnet the service may name the value; elsewhere nothing that is signed is the service's choice."""
    value = os.environ.get(name) or (on_devnet if NETWORK == "devnet" else None)
    return value or sys.exit(f"{name} is not set: the first lines of {sys.argv[0]} say what it is")


KEY = needed("WALLET_PRIVATE_KEY")
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
    except urllib.error.URLError as error:
        sys.exit(f"{URL} cannot be reached: {error.reason}")


def signed(action, **members):
    """The text is sent exactly as it was signed. Off devnet it names the service."""
    if NETWORK != "devnet" or "LATCHKEY_DOMAIN" in os.environ:
        members["domain"] = needed("LATCHKEY_DOMAIN")
    message = json.dumps({"action": action, **members, "timestamp": int(time.time() * 1000)})
    return {
        "message": message,
        "signature": stacks.sign_message(KEY, message),
        "walletAddress": ADDRESS,
    }


def place(info, api_key):
    devnet = info.get("devnet", {})
    order = {
        "owner": ADDRESS,
        "inputToken": needed("INPUT_TOKEN", devnet.get("inputToken")),
        "outputToken": needed("OUTPUT_TOKEN", devnet.get("outputToken")),
        "amountIn": needed("AMOUNT_IN", "1000000"),
        "uuid": str(uuid.uuid4()),
    }
    # A router can spend what an intent names: off devnet it is not the service that says which.
    router = needed("LATCHKEY_ROUTERS", info["routerContract"]).split(",")[0]
    if router.startswith("committed:"):
        router = router.removeprefix("committed:")
        commit(order)
    order["routerContract"] = router
    order["signature"] = stacks.sign_intent(
        KEY, NETWORK, order["inputToken"], order["amountIn"], order["uuid"], router
    )
    return call("POST", "/orders/new", order, {"X-API-Key": api_key})["data"]["uuid"]


def commit(order):
    """Binds the order to its recipient, a minimum and a deadline: no party can execute it otherwise."""
    until = int(time.time()) + HOUR
    order["minAmountOut"] = needed("MIN_AMOUNT_OUT", "490000")
    order["salt"] = os.urandom(16).hex()
    order["deadline"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))
    order["uuid"] = stacks.committed_uuid(
        {
            "by": None,
            "min": order["minAmountOut"],
            "salt": order["salt"],
            "to": order["owner"],
            "token": order["outputToken"],
            "until": until,
        }
    )


def watch(order):
    """Server-sent events: a line of data for each change, until the order has ended."""
    with urllib.request.urlopen(f"{URL}/orders/{order}/events", timeout=60) as stream:
        for line in stream:
            if line.startswith(b"data: "):
                change = json.loads(line[6:])
                print("  ", change["status"], change.get("txid", ""), flush=True)
                yield change["status"]


def main():
    info = call("GET", "/info")
    if info["network"] != NETWORK:
        sys.exit(f"{URL} is on {info['network']}, and LATCHKEY_NETWORK is {NETWORK}")
    if NETWORK == "devnet":
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
