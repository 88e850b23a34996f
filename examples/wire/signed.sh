#!/usr/bin/env bash
# Signed requests (RFC 9421) with curl and openssl: the private key never leaves this machine, and the service never has it.
#
# WALLET_PRIVATE_KEY grants a key for a new public key; LATCHKEY_URL says where: by default http://127.0.0.1:8787, a devnet.
# Elsewhere LATCHKEY_NETWORK and LATCHKEY_DOMAIN are what trade.sh beside it describes. stacks.py signs for the wallet.
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${LATCHKEY_URL:-http://127.0.0.1:8787}
export LATCHKEY_NETWORK=${LATCHKEY_NETWORK:-devnet}
: "${WALLET_PRIVATE_KEY:?is not set: the first lines of $0 say what it is}"
export WALLET_PRIVATE_KEY
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

member() { python3 -c 'import json,sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
stacks() { python3 "$here/stacks.py" "$@"; }
call() { curl -sS --fail-with-body "$@" || { echo >&2; exit 1; }; }

openssl genpkey -algorithm ed25519 -out "$folder/key.pem"
# The last 32 bytes of the DER of a public key are the key.
public=$(openssl pkey -in "$folder/key.pem" -pubout -outform DER | tail -c 32 | openssl base64 -A | tr '+/' '-_' | tr -d '=')

domain=${LATCHKEY_DOMAIN:+,\"domain\":\"$LATCHKEY_DOMAIN\"}
text="{\"action\":\"create_api_key\",\"keyName\":\"openssl $public\",\"permissions\":[\"create\"],\"publicKey\":{\"alg\":\"ed25519\",\"key\":\"$public\"}$domain,\"timestamp\":$(date +%s)000}"
body=$(python3 -c 'import json,sys; print(json.dumps(dict(zip(("message","signature","walletAddress"), sys.argv[1:]))))' \
  "$text" "$(stacks message "$text")" "$(stacks address)")
id=$(call "$root/api/v1/api-keys" -H 'Content-Type: application/json' -d "$body" | member keyId)
echo "key $id"

# signed METHOD PATH QUERY BODY: sends a request with its signature. QUERY begins with ? also where there is none.
signed() {
  local method=$1 path=$2 query=$3 body=$4 components='"@method" "@authority" "@path" "@query"' digest='' lines=''
  if [ -n "$body" ]; then
    digest="sha-256=:$(printf %s "$body" | openssl dgst -sha256 -binary | openssl base64 -A):"
    components+=' "content-digest"'
    lines=$'\n'"\"content-digest\": $digest"
  fi
  local params="($components);created=$(date +%s);nonce=\"$(openssl rand -base64 16)\";keyid=\"$id\";alg=\"ed25519\";tag=\"latchkey\""
  printf '"@method": %s\n"@authority": %s\n"@path": %s\n"@query": %s%s\n"@signature-params": %s' \
    "$method" "${root#*://}" "$path" "$query" "$lines" "$params" >"$folder/base"
  local signature
  signature=$(openssl pkeyutl -sign -rawin -inkey "$folder/key.pem" -in "$folder/base" | openssl base64 -A)
  local url=$root$path
  [ "$query" = '?' ] || url+=$query
  local options=(-X "$method" -H "Signature-Input: sig=$params" -H "Signature: sig=:$signature:")
  [ -z "$body" ] || options+=(-H "Content-Digest: $digest" -H 'Content-Type: application/json' --data-raw "$body")
  call "${options[@]}" "$url"
}

echo "is $(signed GET /api/v1/me '?' '' | member name)"
signed GET /api/v1/orders '?limit=1' '' >/dev/null
# A signed body: the service refuses the order for its form, and so has taken the signature.
refused=$(signed POST /api/v1/orders/new '?' '{"uuid":"1"}' 2>/dev/null) || true
echo "refuses the order: $(member code <<<"$refused")"
signed DELETE /api/v1/api-keys/self '?' '' | member message
