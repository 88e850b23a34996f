#!/usr/bin/env bash
# A key, an order and its end with curl. Signatures are made by stacks.py beside it, with Python 3.
#
# WALLET_PRIVATE_KEY says for whom, and LATCHKEY_URL where: by default http://127.0.0.1:8787, a devnet, whose faucet pays. The others
# are for a testnet or mainnet, where the wallet holds the input token and the order trades it for real:
#   LATCHKEY_NETWORK     testnet or mainnet
#   LATCHKEY_DOMAIN      what its operator calls the service: signedDomain of GET /api/v1/info
#   LATCHKEY_ROUTERS     the router that may spend what is signed, from its operator; committed:ROUTER for a committed one
#   INPUT_TOKEN, OUTPUT_TOKEN, AMOUNT_IN, and for a committed router MIN_AMOUNT_OUT
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
url=${LATCHKEY_URL:-http://127.0.0.1:8787}/api/v1
export LATCHKEY_NETWORK=${LATCHKEY_NETWORK:-devnet}
: "${WALLET_PRIVATE_KEY:?is not set: the first lines of $0 say what it is}"
export WALLET_PRIVATE_KEY

# member NAME < json: the value of a member, as data.uuid; nothing where there is none.
member() { python3 -c 'import functools,json,sys; print(functools.reduce(lambda v,k: v.get(k, {}), sys.argv[1].split("."), json.load(sys.stdin)) or "")' "$1"; }
now() { python3 -c 'import time; print(int(time.time()*1000))'; }
stacks() { python3 "$here/stacks.py" "$@"; }
# A refusal is printed and ends the script: its body says what is wrong.
call() { curl -sS --fail-with-body -H 'Content-Type: application/json' "$@" || { echo >&2; exit 1; }; }
# needed NAME VALUE: a variable. On a devnet the service may name the value; elsewhere nothing that is signed is the service's choice.
needed() {
  local value=${!1:-}
  [ -n "$value" ] || [ "$LATCHKEY_NETWORK" != devnet ] || value=$2
  [ -n "$value" ] || { echo "$1 is not set: the first lines of $0 say what it is" >&2; exit 1; }
  echo "$value"
}

address=$(stacks address)
# message ACTION MEMBERS: the text of a message. Off devnet it names the service.
domain=$([ "$LATCHKEY_NETWORK" = devnet ] || needed LATCHKEY_DOMAIN '')
message() { echo "{\"action\":\"$1\",$2${domain:+,\"domain\":\"$domain\"},\"timestamp\":$(now)}"; }
# signed TEXT: the body of a signed message. The text is sent exactly as it was signed.
signed() {
  python3 -c 'import json,sys; print(json.dumps(dict(zip(("message","signature","walletAddress"), sys.argv[1:]))))' \
    "$1" "$(stacks message "$1")" "$address"
}

info=$(call "$url/info")
network=$(member network <<<"$info")
[ "$network" = "$LATCHKEY_NETWORK" ] || { echo "$url is on $network, and LATCHKEY_NETWORK is $LATCHKEY_NETWORK" >&2; exit 1; }
input=$(needed INPUT_TOKEN "$(member devnet.inputToken <<<"$info")")
output=$(needed OUTPUT_TOKEN "$(member devnet.outputToken <<<"$info")")
amount=$(needed AMOUNT_IN 1000000)
# A router can spend what an intent names: off devnet it is not the service that says which.
router=$(needed LATCHKEY_ROUTERS "$(member routerContract <<<"$info")")
router=${router%%,*}
minimum=$([ "$router" = "${router#committed:}" ] || needed MIN_AMOUNT_OUT 490000)
[ "$LATCHKEY_NETWORK" != devnet ] || call "$url/devnet/faucet" -d "{\"address\":\"$address\"}" >/dev/null

permissions='"permissions":["create","execute","cancel"]'
created=$(call "$url/api-keys" -d "$(signed "$(message create_api_key "\"keyName\":\"curl $(stacks uuid)\",$permissions")")")
key=$(member apiKey <<<"$created")
id=$(member keyId <<<"$created")
echo "key $id"

place() {
  local uuid signature terms='' contract=${router#committed:}
  if [ "$contract" = "$router" ]; then
    uuid=$(stacks uuid)
  else
    # Binds the order to its recipient, a minimum and a deadline: no party can execute it otherwise.
    local salt until
    salt=$(stacks uuid | tr -d -)
    until=$(($(date +%s) + 3600))
    uuid=$(stacks committed "$address" "$output" "$minimum" "$salt" "$until")
    terms=",\"minAmountOut\":\"$minimum\",\"salt\":\"$salt\",\"deadline\":\"$(python3 -c 'import sys,time; print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(sys.argv[1]))))' "$until")\""
  fi
  signature=$(stacks intent "$input" "$amount" "$uuid" "$contract")
  call "$url/orders/new" -H "X-API-Key: $key" -d "{\"owner\":\"$address\",\"inputToken\":\"$input\",\"outputToken\":\"$output\",\"amountIn\":\"$amount\",\"uuid\":\"$uuid\",\"routerContract\":\"$contract\",\"signature\":\"$signature\"$terms}" | member data.uuid
}

order=$(place)
echo "executes $order"
call -X POST "$url/orders/$order/execute" -H "X-API-Key: $key" >/dev/null
# The stream ends with the order; blocks of a public network take minutes.
curl -sSN --max-time 1800 "$url/orders/$order/events" | sed -un 's/^data: .*"status":"\([a-z]*\)".*/   \1/p'

order=$(place)
echo "cancels $order $(call -X PATCH "$url/orders/$order/cancel" -H "X-API-Key: $key" | member data.status)"

# A message in headers, in place of a body.
text=$(message delete_api_key "\"keyId\":\"$id\"")
call -X DELETE "$url/api-keys/$id" -H "X-Message: $text" -H "X-Signature: $(stacks message "$text")" \
  -H "X-Wallet-Address: $address" | member message
