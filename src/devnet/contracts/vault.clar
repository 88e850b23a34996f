;; A constant-product pool. Opcode byte 0: 00 sells token-a, 01 sells token-b.
;; The deployment gives `.token-a` and `.token-b` their real names.

(impl-trait .vault-trait.vault-trait)

(define-constant ERR_AMOUNT (err u400000))
(define-constant ERR_OPCODE (err u400001))
(define-constant VAULT (as-contract tx-sender))
(define-constant PARTS u1000000)
(define-constant FEE_PARTS u3000)

(define-public (execute (amount uint) (opcode (optional (buff 16))))
  (let (
      (trader tx-sender)
      (delta (try! (quote amount opcode))))
    (asserts! (> (get dy delta) u0) ERR_AMOUNT)
    (if (sells-a opcode)
      (begin
        (try! (contract-call? .token-a transfer amount trader VAULT none))
        (try! (as-contract (contract-call? .token-b transfer (get dy delta) VAULT trader none))))
      (begin
        (try! (contract-call? .token-b transfer amount trader VAULT none))
        (try! (as-contract (contract-call? .token-a transfer (get dy delta) VAULT trader none)))))
    (ok delta)))

(define-read-only (quote (amount uint) (opcode (optional (buff 16))))
  (let (
      (a (unwrap-panic (contract-call? .token-a get-balance VAULT)))
      (b (unwrap-panic (contract-call? .token-b get-balance VAULT)))
      (after-fee (/ (* amount (- PARTS FEE_PARTS)) PARTS)))
    (asserts! (or (sells-a opcode) (sells-b opcode)) ERR_OPCODE)
    (ok {
      dx: amount,
      dy: (if (sells-a opcode)
        (/ (* b after-fee) (+ a after-fee))
        (/ (* a after-fee) (+ b after-fee))),
      dk: u0
    })))

(define-private (sells-a (opcode (optional (buff 16))))
  (is-eq (first-byte opcode) 0x00))

(define-private (sells-b (opcode (optional (buff 16))))
  (is-eq (first-byte opcode) 0x01))

(define-private (first-byte (opcode (optional (buff 16))))
  (default-to 0x00 (element-at? (default-to 0x00 opcode) u0)))
