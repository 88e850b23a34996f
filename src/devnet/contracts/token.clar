;; An ordinary SIP-010 token. The deployment gives `token-asset` and TKN their real names.

(impl-trait .sip010-trait.sip010-trait)

(define-constant ERR_NOT_OWNER (err u4))
(define-constant ERR_NOT_DEPLOYER (err u403000))
(define-constant DEPLOYER tx-sender)

(define-fungible-token token-asset)

(define-public (transfer
    (amount uint) (sender principal) (recipient principal) (memo (optional (buff 34))))
  (begin
    (asserts! (is-eq tx-sender sender) ERR_NOT_OWNER)
    (try! (ft-transfer? token-asset amount sender recipient))
    (match memo text (begin (print text) true) true)
    (ok true)))

(define-public (mint (amount uint) (recipient principal))
  (begin
    (asserts! (is-eq tx-sender DEPLOYER) ERR_NOT_DEPLOYER)
    (ft-mint? token-asset amount recipient)))

(define-read-only (get-name) (ok "Devnet TKN"))
(define-read-only (get-symbol) (ok "TKN"))
(define-read-only (get-decimals) (ok u6))
(define-read-only (get-balance (who principal)) (ok (ft-get-balance token-asset who)))
(define-read-only (get-total-supply) (ok (ft-get-supply token-asset)))
(define-read-only (get-token-uri) (ok none))
