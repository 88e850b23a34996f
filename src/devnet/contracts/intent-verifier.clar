;; BLAZE_PROTOCOL v1.0: recovers the signer of an intent (SIP-018) and accepts each uuid once.

(define-constant ERR_SIGNATURE (err u401000))
(define-constant ERR_UUID_USED (err u409000))

(define-constant SIP018_PREFIX 0x534950303138)
(define-constant DOMAIN_HASH
  (sha256 (unwrap-panic (to-consensus-buff?
    {name: "BLAZE_PROTOCOL", version: "v1.0", chain-id: chain-id}))))

(define-map used-uuids (string-ascii 36) bool)

(define-read-only (get-domain-hash) DOMAIN_HASH)

(define-read-only (is-used (uuid (string-ascii 36)))
  (default-to false (map-get? used-uuids uuid)))

;; As the verifier of mainnet calls it.
(define-read-only (check (uuid (string-ascii 36))) (is-used uuid))

(define-read-only (hash
    (contract principal)
    (intent (string-ascii 32))
    (opcode (optional (buff 16)))
    (amount (optional uint))
    (target (optional principal))
    (uuid (string-ascii 36)))
  (sha256 (concat (concat SIP018_PREFIX DOMAIN_HASH)
    (sha256 (unwrap-panic (to-consensus-buff? {
      contract: contract,
      intent: intent,
      opcode: opcode,
      amount: amount,
      target: target,
      uuid: uuid
    }))))))

(define-read-only (recover
    (signature (buff 65))
    (contract principal)
    (intent (string-ascii 32))
    (opcode (optional (buff 16)))
    (amount (optional uint))
    (target (optional principal))
    (uuid (string-ascii 36)))
  (match (secp256k1-recover? (hash contract intent opcode amount target uuid) signature)
    public-key (ok (unwrap! (principal-of? public-key) ERR_SIGNATURE))
    failure ERR_SIGNATURE))

;; contract-caller must be the contract that the intent names. Any caller can burn a uuid.
(define-public (execute
    (signature (buff 65))
    (intent (string-ascii 32))
    (opcode (optional (buff 16)))
    (amount (optional uint))
    (target (optional principal))
    (uuid (string-ascii 36)))
  (begin
    (asserts! (map-insert used-uuids uuid true) ERR_UUID_USED)
    (recover signature contract-caller intent opcode amount target uuid)))
