#!/usr/bin/env bash
# A key, an order and its end with curl. Signatures are made by stacks.py beside it: LATCHKEY_URL and WALLET_PRIVATE_KEY say where
# and for whom.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
url=${LATCHKEY_URL:-http://127.0.0.1:8787}/api/v1
export WALLET_PRIVATE_KEY

# member NAME < json: the value of a member, as data.uuid.
member() { python3 -c 'import functools,json,sys; print(functools.reduce(lambda v,k: v[k], sys.argv[1].split("."), json.load(sys.stdin)))' "$1"; }
now() { python3 -c 'import time; print(int(time.time()*1000))'; }
stacks() { python3 "$here/stacks.py" "$@"; }
# A refusal is printed and ends the script: its body says what is wrong.
call() { curl -sS --fail-with-body -H 'Content-Type: application/json' "$@" || { echo >&2; exit 1; }; }

address=$(stacks address)
# signed TEXT: the body of a signed message. The text is sent exactly as it was signed.
signed() {
  python3 -c 'import json,sys; print(json.dumps(dict(zip(("message","signature","walletAddress"), sys.argv[1:]))))' \
    "$1" "$(stacks message "$1")" "$address"
}

info=$(call "$url/info")
input=$(member devnet.inputToken <<<"$info")
output=$(member devnet.outputToken <<<"$info")
router=$(member routerContract <<<"$info")
call "$url/devnet/faucet" -d "{\"address\":\"$address\"}" >/dev/null

created=$(call "$url/api-keys" -d "$(signed "{\"action\":\"create_api_key\",\"keyName\":\"curl $(stacks uuid)\",\"permissions\":[\"create\",\"execute\",\"cancel\"],\"timestamp\":$(now)}")")
key=$(member apiKey <<<"$created")
id=$(member keyId <<<"$created")
echo "key $id"

place() {
  local uuid signature
  uuid=$(stacks uuid)
  signature=$(stacks intent "$input" 1000000 "$uuid" "$router")
  call "$url/orders/new" -H "X-API-Key: $key" -d "{\"owner\":\"$address\",\"inputToken\":\"$input\",\"outputToken\":\"$output\",\"amountIn\":\"1000000\",\"uuid\":\"$uuid\",\"signature\":\"$signature\"}" | member data.uuid
}

order=$(place)
echo "executes $order"
call -X POST "$url/orders/$order/execute" -H "X-API-Key: $key" >/dev/null
# The stream ends with the order.
curl -sSN --max-time 60 "$url/orders/$order/events" | sed -un 's/^data: .*"status":"\([a-z]*\)".*/   \1/p'

order=$(place)
echo "cancels $order $(call -X PATCH "$url/orders/$order/cancel" -H "X-API-Key: $key" | member data.status)"

# A message in headers, in place of a body.
message="{\"action\":\"delete_api_key\",\"keyId\":\"$id\",\"timestamp\":$(now)}"
call -X DELETE "$url/api-keys/$id" -H "X-Message: $message" -H "X-Signature: $(stacks message "$message")" \
  -H "X-Wallet-Address: $address" | member message
