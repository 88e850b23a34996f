"""Verifies a delivery of a webhook (Standard Webhooks 1.0.0), with the standard library alone.

    python3 verify_webhook.py SECRET[,SECRET] < request

`request` is what a receiver has: three lines with webhook-id, webhook-timestamp and webhook-signature, an empty line, and the
body as it was received. It prints the type and the id of the delivery, or why it is none.
"""

import base64
import hashlib
import hmac
import json
import sys
import time

TOLERANCE_SECONDS = 300


def verify(secrets, headers, body, now=None):
    """Returns the payload, or raises ValueError. `body` is bytes: text that was parsed and written again is another one."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not timestamp.isascii() or not timestamp.isdigit():
        raise ValueError("there is no webhook-id, or no webhook-timestamp")
    signed = f"{message_id}.{timestamp}.".encode() + body
    given = [part[3:] for part in headers.get("webhook-signature", "").split(" ") if part.startswith("v1,")]
    expected = [
        base64.b64encode(hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()).decode()
        for secret in secrets
    ]
    # compare_digest takes the same time whatever differs; each pair is compared.
    if not any([hmac.compare_digest(one.encode(), other.encode()) for one in given for other in expected]):
        raise ValueError("it is not signed with the secret")
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE_SECONDS:
        raise ValueError("it was sent too long ago, or is dated ahead")
    return json.loads(body)


def main():
    head, _, body = sys.stdin.buffer.read().partition(b"\n\n")
    headers = {}
    for line in head.decode().splitlines():
        name, _, value = line.partition(": ")
        headers[name.lower()] = value
    try:
        payload = verify(sys.argv[1].split(","), headers, body)
    except ValueError as error:
        print(f"refused: {error}")
        return 1
    print(payload["type"], headers["webhook-id"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
