;; Deposits of the base token, kept in a map: post-conditions do not cover these balances.
;; The deployment gives `.base-token` its real name.

(impl-trait .sip010-trait.sip010-trait)
(impl-trait .subnet-token-trait.subnet-token-trait)

(define-constant ERR_NOT_OWNER (err u4))
(define-constant ERR_AMOUNT (err u3))
(define-constant ERR_BALANCE (err u1))
;; As the verifier reports it: a signature over other content recovers a signer without a balance.
(define-constant ERR_SIGNATURE (err u401000))
(define-constant SUBNET (as-contract tx-sender))

(define-map balances principal uint)
(define-data-var supply uint u0)

(define-public (deposit (amount uint) (recipient principal))
  (begin
    (try! (contract-call? .base-token transfer amount tx-sender SUBNET none))
    (var-set supply (+ (var-get supply) amount))
    (credit amount recipient)
    (ok true)))

(define-public (withdraw (amount uint) (recipient principal))
  (begin
    (try! (debit amount tx-sender))
    (var-set supply (- (var-get supply) amount))
    (as-contract (contract-call? .base-token transfer amount SUBNET recipient none))))

(define-public (transfer
    (amount uint) (sender principal) (recipient principal) (memo (optional (buff 34))))
  (begin
    (asserts! (is-eq tx-sender sender) ERR_NOT_OWNER)
    (move amount sender recipient)))

(define-public (x-transfer
    (signature (buff 65)) (amount uint) (uuid (string-ascii 36)) (target principal))
  (let ((signer (try! (contract-call? .intent-verifier execute
          signature "TRANSFER_TOKENS" none (some amount) (some target) uuid))))
    (asserts! (is-some (map-get? balances signer)) ERR_SIGNATURE)
    (move amount signer target)))

(define-private (move (amount uint) (sender principal) (recipient principal))
  (begin
    (try! (debit amount sender))
    (credit amount recipient)
    (print {type: "transfer", sender: sender, recipient: recipient, amount: amount})
    (ok true)))

(define-private (debit (amount uint) (who principal))
  (let ((held (balance-of who)))
    (asserts! (> amount u0) ERR_AMOUNT)
    (asserts! (>= held amount) ERR_BALANCE)
    (ok (map-set balances who (- held amount)))))

(define-private (credit (amount uint) (who principal))
  (map-set balances who (+ (balance-of who) amount)))

(define-read-only (balance-of (who principal)) (default-to u0 (map-get? balances who)))

(define-read-only (get-name) (ok "Devnet TKN on a subnet"))
(define-read-only (get-symbol) (ok "TKN"))
(define-read-only (get-decimals) (ok u6))
(define-read-only (get-balance (who principal)) (ok (balance-of who)))
(define-read-only (get-total-supply) (ok (var-get supply)))
(define-read-only (get-token-uri) (ok none))
