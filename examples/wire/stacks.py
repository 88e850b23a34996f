"""Signs for Latchkey with the standard library of Python alone: docs/wire.md in code.

It is written to be read, and slow: 0.1 s a signature, with timing that depends on the key. A bot that signs all day, or next to
strangers, uses a library in its place, as coincurve; the bytes that are signed stay the same.

WALLET_PRIVATE_KEY is 32 bytes in hexadecimal and 01. LATCHKEY_NETWORK is devnet (the default), testnet or mainnet.

    python3 stacks.py address                      the address of WALLET_PRIVATE_KEY
    python3 stacks.py message 'text'               the signature of a text
    python3 stacks.py intent TOKEN AMOUNT UUID ROUTER
    python3 stacks.py uuid                         a uuid for an order
    python3 stacks.py committed TO TOKEN MIN SALT UNTIL
                                                   the uuid of an order that is committed to these terms
    python3 stacks.py secret PREFIX WALLET         a new secret of a key, and its keyHash
    python3 stacks.py check vectors.json           compares everything here with docs/vectors.json
"""

import hashlib
import hmac
import json
import os
import sys
import uuid as uuids
import zlib

CHAIN_IDS = {"mainnet": 1, "testnet": 2147483648, "devnet": 2147483648}
ADDRESS_VERSIONS = {"mainnet": 22, "testnet": 26, "devnet": 26}


def sha256(data):
    return hashlib.sha256(data).digest()


# secp256k1 (SEC 2, s2.4.1)

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def add(a, b):
    if a is None or b is None:
        return b if a is None else a
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    slope = (
        3 * a[0] * a[0] * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    )
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def multiply(scalar, point=G):
    result = None
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def nonces(key, digest):
    """RFC 6979, s3.2: the nonces that a key and a digest lead to. No randomness, so that no nonce is used for two digests."""
    seed = key.to_bytes(32, "big") + (int.from_bytes(digest, "big") % N).to_bytes(32, "big")
    k, v = b"\x00" * 32, b"\x01" * 32
    for byte in (b"\x00", b"\x01"):
        k = hmac.digest(k, v + byte + seed, "sha256")
        v = hmac.digest(k, v, "sha256")
    while True:
        v = hmac.digest(k, v, "sha256")
        yield int.from_bytes(v, "big")
        k = hmac.digest(k, v + b"\x00", "sha256")
        v = hmac.digest(k, v, "sha256")


def sign(private_key, digest):
    """A recoverable signature in the order R, S, V: 65 bytes in hexadecimal, with a low S."""
    key = int(private_key[:64], 16)
    z = int.from_bytes(digest, "big")
    for k in nonces(key, digest):
        if not 0 < k < N:
            continue
        x, y = multiply(k)
        r = x % N
        s = pow(k, -1, N) * (z + r * key) % N
        if r == 0 or s == 0:
            continue
        recovery = (y & 1) | (2 if x >= N else 0)
        if s > N // 2:
            s, recovery = N - s, recovery ^ 1
        return f"{r:064x}{s:064x}{recovery:02x}"


def public_key(private_key):
    x, y = multiply(int(private_key[:64], 16))
    return bytes([2 + (y & 1)]) + x.to_bytes(32, "big")


# Addresses


def ripemd160(data):
    """Python's own where its OpenSSL has it, which is optional since OpenSSL 3."""
    try:
        return hashlib.new("ripemd160", data).digest()
    except ValueError:
        return ripemd160_in_python(data)


def ripemd160_in_python(data):
    rotate = lambda x, n: ((x << n) | (x >> (32 - n))) & 0xFFFFFFFF
    rounds = [
        lambda x, y, z: x ^ y ^ z,
        lambda x, y, z: (x & y) | (~x & z),
        lambda x, y, z: (x | ~y) ^ z,
        lambda x, y, z: (x & z) | (y & ~z),
        lambda x, y, z: x ^ (y | ~z),
    ]
    rho = [7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8]
    left, right = [list(range(16))], [[(9 * i + 5) % 16 for i in range(16)]]
    for lines in (left, right):
        for _ in range(4):
            lines.append([rho[i] for i in lines[-1]])
    shifts = [
        [11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8],
        [12, 13, 11, 15, 6, 9, 9, 7, 12, 15, 11, 13, 7, 8, 7, 7],
        [13, 15, 14, 11, 7, 7, 6, 8, 13, 14, 13, 12, 5, 5, 6, 9],
        [14, 11, 12, 14, 8, 6, 5, 5, 15, 12, 15, 14, 9, 9, 8, 6],
        [15, 12, 13, 13, 9, 5, 8, 6, 14, 11, 12, 11, 8, 6, 5, 5],
    ]
    left_constants = [0, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E]
    right_constants = [0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0]
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0]
    data = data + b"\x80" + b"\x00" * ((55 - len(data)) % 64) + (8 * len(data)).to_bytes(8, "little")
    for at in range(0, len(data), 64):
        words = [int.from_bytes(data[at + 4 * i : at + 4 * i + 4], "little") for i in range(16)]

        def line(order, functions, constants):
            a, b, c, d, e = state
            for j in range(5):
                for i in order[j]:
                    t = a + functions[j](b, c, d) + words[i] + constants[j]
                    t = rotate(t & 0xFFFFFFFF, shifts[j][i]) + e
                    a, e, d, c, b = e, d, rotate(c, 10), b, t & 0xFFFFFFFF
            return a, b, c, d, e

        a, b, c, d, e = line(left, rounds, left_constants)
        f, g, h, i, j = line(right, rounds[::-1], right_constants)
        state = [
            (state[1] + c + i) & 0xFFFFFFFF,
            (state[2] + d + j) & 0xFFFFFFFF,
            (state[3] + e + f) & 0xFFFFFFFF,
            (state[4] + a + g) & 0xFFFFFFFF,
            (state[0] + b + h) & 0xFFFFFFFF,
        ]
    return b"".join(word.to_bytes(4, "little") for word in state)


C32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def c32(data):
    """Big-endian base 32; each leading zero byte is one leading 0."""
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 32)
        text = C32[digit] + text
    return "0" * (len(data) - len(data.lstrip(b"\x00"))) + text


def c32_decode(text):
    number = 0
    for character in text:
        number = number * 32 + C32.index(character)
    return b"\x00" * (len(text) - len(text.lstrip("0"))) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def address_of(hash160, version):
    checksum = sha256(sha256(bytes([version]) + hash160))[:4]
    return "S" + C32[version] + c32(hash160 + checksum)


def address(private_key, network):
    return address_of(ripemd160(sha256(public_key(private_key))), ADDRESS_VERSIONS[network])


# Signed messages


def compact_size(length):
    if length < 0xFD:
        return bytes([length])
    if length <= 0xFFFF:
        return b"\xfd" + length.to_bytes(2, "little")
    return b"\xfe" + length.to_bytes(4, "little")


def message_bytes(text):
    utf8 = text.encode()
    return b"\x17Stacks Signed Message:\n" + compact_size(len(utf8)) + utf8


def sign_message(private_key, text):
    return sign(private_key, sha256(message_bytes(text)))


# Clarity values, as the chain serializes them (SIP-005)

NONE = b"\x09"


def uint(number):
    return b"\x01" + number.to_bytes(16, "big")


def buffer(data):
    return b"\x02" + len(data).to_bytes(4, "big") + data


def some(value):
    return b"\x0a" + value


def ascii_string(text):
    return b"\x0d" + len(text).to_bytes(4, "big") + text.encode("ascii")


def principal(text):
    """An address, or a contract id with the name after a point."""
    account, _, name = text.partition(".")
    data = c32_decode(account[2:])[:-4].rjust(20, b"\x00")[-20:]
    body = bytes([C32.index(account[1])]) + data
    return b"\x06" + body + bytes([len(name)]) + name.encode() if name else b"\x05" + body


def clarity_tuple(members):
    body = b"".join(
        bytes([len(name)]) + name.encode() + members[name] for name in sorted(members)
    )
    return b"\x0c" + len(members).to_bytes(4, "big") + body


# Orders


def intent_domain(network):
    return clarity_tuple(
        {
            "name": ascii_string("BLAZE_PROTOCOL"),
            "version": ascii_string("v1.0"),
            "chain-id": uint(CHAIN_IDS[network]),
        }
    )


def intent_tuple(input_token, amount_in, uuid, router):
    return clarity_tuple(
        {
            "contract": principal(input_token),
            "intent": ascii_string("TRANSFER_TOKENS"),
            "opcode": NONE,
            "amount": some(uint(int(amount_in))),
            "target": some(principal(router)),
            "uuid": ascii_string(uuid),
        }
    )


def intent_digest(network, intent):
    """SIP-018: what the chain recovers the owner from."""
    return sha256(b"SIP018" + sha256(intent_domain(network)) + sha256(intent))


def sign_intent(private_key, network, input_token, amount_in, uuid, router):
    return sign(private_key, intent_digest(network, intent_tuple(input_token, amount_in, uuid, router)))


def canonical_order(order):
    """RFC 8785 of an order's terms: all of them are ASCII texts, so that sorting the names is all of it."""
    signatures = ("signature", "message", "messageSignature")
    terms = {name: value for name, value in order.items() if name not in signatures}
    return json.dumps(terms, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def order_hash(order):
    return sha256(canonical_order(order).encode()).hex()


def committed_terms(terms):
    return clarity_tuple(
        {
            "by": NONE if terms["by"] is None else some(principal(terms["by"])),
            "min": uint(int(terms["min"])),
            "salt": buffer(bytes.fromhex(terms["salt"])),
            "to": principal(terms["to"]),
            "token": principal(terms["token"]),
            "until": uint(int(terms["until"])),
        }
    )


def committed_uuid(terms):
    return sha256(committed_terms(terms))[:18].hex()


# Secrets of keys

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def base62(number, length):
    text = ""
    for _ in range(length):
        number, digit = divmod(number, 62)
        text = BASE62[digit] + text
    return text


def secret_of(prefix, wallet, random):
    shard = int.from_bytes(sha256(wallet.encode())[:2], "big")
    body = prefix + base62(62**4 - 65536 + shard, 4) + base62(int.from_bytes(random, "big"), 39)
    return body + base62(zlib.crc32(body.encode()), 6)


def key_hash(secret):
    return sha256(secret.encode()).hex()


def new_secret(prefix, wallet):
    secret = secret_of(prefix, wallet, os.urandom(29))
    return f"{secret} {key_hash(secret)}"


def check(path):
    """Raises an AssertionError where anything here differs from the vectors."""
    with open(path) as file:
        vectors = json.load(file)
    key, network = vectors["privateKey"], vectors["network"]
    assert public_key(key).hex() == vectors["publicKey"]
    for one in vectors["addresses"]:
        assert address_of(bytes.fromhex(one["hash160"]), one["version"]) == one["address"], one
    for one in vectors["hash160"]:
        data = sha256(bytes.fromhex(one["publicKey"]))
        assert ripemd160(data).hex() == ripemd160_in_python(data).hex() == one["hash160"], one
    for one in vectors["compactSizes"]:
        assert compact_size(one["length"]).hex() == one["bytes"], one
    for one in vectors["messages"]:
        assert message_bytes(one["message"]).hex() == one["bytes"], one
        assert sha256(message_bytes(one["message"])).hex() == one["digest"], one
        assert sign_message(key, one["message"]) == one["signature"], one
    assert intent_domain(network).hex() == vectors["intentDomain"]
    for one in vectors["intents"]:
        intent = intent_tuple(one["inputToken"], one["amountIn"], one["uuid"], one["router"])
        assert intent.hex() == one["tuple"], one
        assert intent_digest(network, intent).hex() == one["digest"], one
        assert sign(key, intent_digest(network, intent)) == one["signature"], one
    for one in vectors["orders"]:
        assert canonical_order(one["order"]) == one["canonical"], one
        assert order_hash(one["order"]) == one["orderHash"], one
    for one in vectors["committed"]:
        assert committed_terms(one["terms"]).hex() == one["tuple"], one
        assert committed_uuid(one["terms"]) == one["uuid"], one
    for one in vectors["secrets"]:
        secret = secret_of(one["prefix"], one["walletAddress"], bytes.fromhex(one["random"]))
        assert secret == one["secret"], one
        assert key_hash(secret) == one["keyHash"], one
    return sum(len(value) for value in vectors.values() if isinstance(value, list))


def main(command, *given):
    key = os.environ.get("WALLET_PRIVATE_KEY", "")
    network = os.environ.get("LATCHKEY_NETWORK", "devnet")
    names = ("to", "token", "min", "salt", "until")
    commands = {
        "address": lambda: address(key, network),
        "message": lambda text: sign_message(key, text),
        "intent": lambda *intent: sign_intent(key, network, *intent),
        "uuid": lambda: str(uuids.uuid4()),
        "committed": lambda *terms: committed_uuid({"by": None, **dict(zip(names, terms))}),
        "secret": new_secret,
        "check": lambda path: f"{check(path)} vectors are as they should be",
    }
    print(commands[command](*given))


if __name__ == "__main__":
    main(*sys.argv[1:])
