;; Holds the tokens of one swap while its vaults run. A vault takes its input from the principal that calls it and could
;; take anything else of that principal too, so the one that calls vaults owns nothing else.

(define-trait token (
  (transfer (uint principal principal (optional (buff 34))) (response bool uint))
  (get-balance (principal) (response uint uint))))

(define-trait vault (
  (execute (uint (optional (buff 16))) (response {dx: uint, dy: uint, dk: uint} uint))))

(define-constant ERR_CALLER (err u403104)) ;; the caller is not the router

(define-constant ACCOUNT (as-contract tx-sender))
(define-constant ROUTER .committed-router)

;; Everything foreign runs as this contract: neither the sender's authority nor the router's reaches it.
(define-public (run
    (amount uint)
    (input <token>)
    (hops (list 5 {vault: <vault>, opcode: (buff 16), token: (optional <token>)}))
    (output <token>)
    (to principal))
  (begin
    (asserts! (is-eq contract-caller ROUTER) ERR_CALLER)
    (as-contract (swap-and-pay amount input hops output to))))

;; The output is paid before the rest is handed over, because a hop in between may have paid the same token. The last
;; `dy` is what the recipient gained.
(define-private (swap-and-pay
    (amount uint)
    (input <token>)
    (hops (list 5 {vault: <vault>, opcode: (buff 16), token: (optional <token>)}))
    (output <token>)
    (to principal))
  (let (
      (deltas (get deltas (try! (fold swap hops (ok {amount: amount, deltas: (list)})))))
      (last (- (len deltas) u1))
      (paid (try! (pay output to))))
    (try! (hand-over input to))
    (try! (fold hand-over-rest hops (ok to)))
    (ok {
      deltas: (unwrap-panic (replace-at? deltas last
        (merge (unwrap-panic (element-at? deltas last)) {dy: paid}))),
      paid: paid
    })))

(define-private (swap
    (hop {vault: <vault>, opcode: (buff 16), token: (optional <token>)})
    (route (response {amount: uint, deltas: (list 5 {dx: uint, dy: uint, dk: uint})} uint)))
  (let (
      (before (try! route))
      (pool (get vault hop))
      (delta (try! (contract-call? pool execute (get amount before) (some (get opcode hop))))))
    (ok {
      amount: (match (get token hop)
        paid (try! (contract-call? paid get-balance ACCOUNT))
        (get dy delta)),
      deltas: (unwrap-panic (as-max-len? (append (get deltas before) delta) u5))
    })))

;; Everything that the account holds of the output. Returns what the recipient gained by this transfer alone: other
;; payments that reach the recipient during the swap are other debts.
(define-private (pay (output <token>) (to principal))
  (let (
      (held (try! (contract-call? output get-balance ACCOUNT)))
      (before (try! (contract-call? output get-balance to))))
    (try! (contract-call? output transfer held ACCOUNT to none))
    (ok (- (try! (contract-call? output get-balance to)) before))))

(define-private (hand-over-rest
    (hop {vault: <vault>, opcode: (buff 16), token: (optional <token>)})
    (result (response principal uint)))
  (let ((to (try! result)))
    (match (get token hop) paid (hand-over paid to) (ok to))))

(define-private (hand-over (rest <token>) (to principal))
  (let ((held (try! (contract-call? rest get-balance ACCOUNT))))
    (and (> held u0) (try! (contract-call? rest transfer held ACCOUNT to none)))
    (ok to)))
