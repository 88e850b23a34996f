;; Executes a signed intent on its owner's terms and on no others.
;;
;; An intent binds token, amount, router and uuid, and its signature is public as soon as a swap is broadcast. So the uuid
;; commits to the rest: it is the hash of the terms, and a call that names other terms is refused. What an executor
;; chooses is the route; what the route pays goes to the recipient, and is at least the owner's minimum.
;;
;; Two principals, because a vault is called with the authority of the principal whose tokens it takes:
;; - this contract is the intent's target. It holds an input for the length of one call, and holds inputs that a stranger
;;   moved here with the token's own x-transfer until they are refunded. It lends its authority to allowed inputs only.
;; - the account holds the tokens of one swap while vaults of the executor's choice run, and nothing between two swaps.
;;
;; The VM refuses a function that is on the call stack already, so no swap begins while `settle` runs another one.

(define-trait subnet-token (
  ;; signature, amount, uuid, target
  (x-transfer ((buff 65) uint (string-ascii 36) principal) (response bool uint))
  (transfer (uint principal principal (optional (buff 34))) (response bool uint))
  (get-balance (principal) (response uint uint))))

(define-trait token (
  (transfer (uint principal principal (optional (buff 34))) (response bool uint))
  (get-balance (principal) (response uint uint))))

(define-trait vault (
  (execute (uint (optional (buff 16))) (response {dx: uint, dy: uint, dk: uint} uint))))

(define-constant VERSION "latchkey-committed-router-1")

(define-constant ERR_UUID (err u400101))      ;; the uuid is not that of the terms
(define-constant ERR_RECIPIENT (err u400102)) ;; the recipient is the router or its account
(define-constant ERR_OWNER (err u401101))     ;; another owner signed the intent
(define-constant ERR_SENDER (err u403101))    ;; the terms name another sender
(define-constant ERR_INPUT (err u403102))     ;; the input token is not allowed
(define-constant ERR_DEPLOYER (err u403103))  ;; the caller is not the deployer
(define-constant ERR_UNUSED (err u404101))    ;; the verifier has not seen the uuid
(define-constant ERR_COMPLETED (err u409101)) ;; the order was executed
(define-constant ERR_REFUNDED (err u409102))  ;; the input was paid back before
(define-constant ERR_EXPIRED (err u410101))   ;; the chain's time is past `until`
(define-constant ERR_MINIMUM (err u412101))   ;; the recipient gained less than `min`

(define-constant DEPLOYER tx-sender)
(define-constant ROUTER (as-contract tx-sender))
(define-constant ACCOUNT .committed-router-account)
(define-constant VERIFIER .intent-verifier)
(define-constant DIGITS "0123456789abcdef")

(define-map inputs principal bool)
(define-map completed (string-ascii 36) bool)
(define-map refunded (string-ascii 36) bool)

;; What identifies a committed router, and what it depends on.
(define-read-only (get-info)
  {account: ACCOUNT, deployer: DEPLOYER, verifier: VERIFIER, version: VERSION})

(define-read-only (is-input (id principal)) (default-to false (map-get? inputs id)))

(define-read-only (is-completed (uuid (string-ascii 36))) (default-to false (map-get? completed uuid)))

(define-read-only (is-refunded (uuid (string-ascii 36))) (default-to false (map-get? refunded uuid)))

;; Unix seconds of the block before this one: the newest that Clarity 3 can read.
(define-read-only (get-chain-time)
  (unwrap-panic (get-stacks-block-info? time (- stacks-block-height u1))))

;; The uuid that an intent must have: hexadecimal, of the first 18 bytes of SHA-256 of the terms' consensus bytes.
(define-read-only (uuid-of (terms
    {by: (optional principal), min: uint, salt: (buff 16), to: principal, token: principal, until: uint}))
  (fold append-hex
    (unwrap-panic (slice? (sha256 (unwrap-panic (to-consensus-buff? terms))) u0 u18))
    ""))

(define-private (append-hex (byte (buff 1)) (text (string-ascii 36)))
  (let (
      (value (buff-to-uint-be byte))
      (digits (concat (digit (/ value u16)) (digit (mod value u16)))))
    (unwrap-panic (as-max-len? (concat text digits) u36))))

(define-private (digit (value uint)) (unwrap-panic (element-at? DIGITS value)))

(define-public (x-swap-1
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)})
    (hop-1 {vault: <vault>, opcode: (buff 16)})
    (out {by: (optional principal), min: uint, salt: (buff 16), to: principal, token: <token>, until: uint}))
  (settle in (list (merge hop-1 {token: none})) out))

;; A hop before the last may name the token that it pays. Then the next hop takes what the account holds of it, and the
;; recipient gets what is left. Without a name (native STX has none) the vault's own report is what the next hop takes.
(define-public (x-swap-2
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)})
    (hop-1 {vault: <vault>, opcode: (buff 16), token: (optional <token>)})
    (hop-2 {vault: <vault>, opcode: (buff 16)})
    (out {by: (optional principal), min: uint, salt: (buff 16), to: principal, token: <token>, until: uint}))
  (settle in (list hop-1 (merge hop-2 {token: none})) out))

(define-public (x-swap-3
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)})
    (hop-1 {vault: <vault>, opcode: (buff 16), token: (optional <token>)})
    (hop-2 {vault: <vault>, opcode: (buff 16), token: (optional <token>)})
    (hop-3 {vault: <vault>, opcode: (buff 16)})
    (out {by: (optional principal), min: uint, salt: (buff 16), to: principal, token: <token>, until: uint}))
  (settle in (list hop-1 hop-2 (merge hop-3 {token: none})) out))

(define-public (x-swap-4
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)})
    (hop-1 {vault: <vault>, opcode: (buff 16), token: (optional <token>)})
    (hop-2 {vault: <vault>, opcode: (buff 16), token: (optional <token>)})
    (hop-3 {vault: <vault>, opcode: (buff 16), token: (optional <token>)})
    (hop-4 {vault: <vault>, opcode: (buff 16)})
    (out {by: (optional principal), min: uint, salt: (buff 16), to: principal, token: <token>, until: uint}))
  (settle in (list hop-1 hop-2 hop-3 (merge hop-4 {token: none})) out))

(define-public (x-swap-5
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)})
    (hop-1 {vault: <vault>, opcode: (buff 16), token: (optional <token>)})
    (hop-2 {vault: <vault>, opcode: (buff 16), token: (optional <token>)})
    (hop-3 {vault: <vault>, opcode: (buff 16), token: (optional <token>)})
    (hop-4 {vault: <vault>, opcode: (buff 16), token: (optional <token>)})
    (hop-5 {vault: <vault>, opcode: (buff 16)})
    (out {by: (optional principal), min: uint, salt: (buff 16), to: principal, token: <token>, until: uint}))
  (settle in (list hop-1 hop-2 hop-3 hop-4 (merge hop-5 {token: none})) out))

;; The sender is `contract-caller`: a contract that `by` calls for another reason cannot execute the order in its name.
(define-private (settle
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)})
    (hops (list 5 {vault: <vault>, opcode: (buff 16), token: (optional <token>)}))
    (out {by: (optional principal), min: uint, salt: (buff 16), to: principal, token: <token>, until: uint}))
  (let (
      (input (get token in))
      (output (get token out))
      (uuid (get uuid in))
      (to (get to out)))
    (asserts! (is-eq uuid (uuid-of (merge out {token: (contract-of output)}))) ERR_UUID)
    (asserts! (is-eq contract-caller (default-to contract-caller (get by out))) ERR_SENDER)
    (asserts! (<= (get-chain-time) (get until out)) ERR_EXPIRED)
    (asserts! (and (not (is-eq to ROUTER)) (not (is-eq to ACCOUNT))) ERR_RECIPIENT)
    (asserts! (is-input (contract-of input)) ERR_INPUT)
    (let ((amount (try! (pull in))))
      (try! (send input amount ACCOUNT))
      (let ((done (try! (contract-call? .committed-router-account run amount input hops output to))))
        (asserts! (>= (get paid done) (get min out)) ERR_MINIMUM)
        (map-set completed uuid true)
        (ok (get deltas done))))))

;; Returns what has arrived, so that a token which takes a fee on transfers spends nothing of what waits for a refund.
(define-private (pull
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)}))
  (let (
      (input (get token in))
      (before (try! (contract-call? input get-balance ROUTER))))
    (try! (contract-call? input x-transfer (get signature in) (get amount in) (get uuid in) ROUTER))
    (ok (- (try! (contract-call? input get-balance ROUTER)) before))))

;; The only call that has the authority of this contract: to the `transfer` of an allowed input.
(define-private (send (input <subnet-token>) (amount uint) (to principal))
  (as-contract (contract-call? input transfer amount ROUTER to none)))

;; Allows a token as input, for ever. Its `transfer` runs with the authority of this contract, so a token that calls
;; foreign code there could take the inputs that wait for a refund.
(define-public (allow-input (input <subnet-token>))
  (begin
    (asserts! (is-eq contract-caller DEPLOYER) ERR_DEPLOYER)
    (print {event: "allow-input", token: (contract-of input)})
    (ok (map-set inputs (contract-of input) true))))

;; Pays an input back that was moved here without a swap. The chain cannot tell such a move from a uuid that was burnt
;; without one, so the deployer looks for the token's transfer event first. The owner is named, because a signature over
;; other members than those of the call recovers to some principal too.
(define-public (refund
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)})
    (owner principal))
  (let (
      (input (get token in))
      (amount (get amount in))
      (uuid (get uuid in)))
    (asserts! (is-eq contract-caller DEPLOYER) ERR_DEPLOYER)
    (asserts! (is-input (contract-of input)) ERR_INPUT)
    (asserts! (is-eq owner (try! (contract-call? .intent-verifier recover (get signature in)
      (contract-of input) "TRANSFER_TOKENS" none (some amount) (some ROUTER) uuid))) ERR_OWNER)
    (asserts! (contract-call? .intent-verifier check uuid) ERR_UNUSED)
    (asserts! (not (is-completed uuid)) ERR_COMPLETED)
    (asserts! (map-insert refunded uuid true) ERR_REFUNDED)
    (try! (send input amount owner))
    (print {event: "refund", owner: owner, token: (contract-of input), amount: amount, uuid: uuid})
    (ok true)))
