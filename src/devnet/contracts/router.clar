;; Pulls the signer's subnet tokens, swaps them through one to five vaults, pays `to`.
;; Every hop passes through this contract: it sends each token that a vault paid.

(use-trait sip010 .sip010-trait.sip010-trait)
(use-trait subnet-token .subnet-token-trait.subnet-token-trait)
(use-trait pool .vault-trait.vault-trait)

(define-constant ROUTER (as-contract tx-sender))

(define-private (pull
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)}))
  (let ((token (get token in)))
    (contract-call? token x-transfer (get signature in) (get amount in) (get uuid in) ROUTER)))

(define-private (swap (amount uint) (hop {vault: <pool>, opcode: (buff 16)}))
  (let ((vault (get vault hop)))
    (as-contract (contract-call? vault execute amount (some (get opcode hop))))))

(define-private (pay (amount uint) (out {token: <sip010>, to: principal}))
  (let ((token (get token out)))
    (as-contract (contract-call? token transfer amount ROUTER (get to out) none))))

(define-public (x-swap-1
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)})
    (hop-1 {vault: <pool>, opcode: (buff 16)})
    (out {token: <sip010>, to: principal}))
  (let (
      (pulled (try! (pull in)))
      (delta-1 (try! (swap (get amount in) hop-1))))
    (try! (pay (get dy delta-1) out))
    (ok (list delta-1))))

(define-public (x-swap-2
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)})
    (hop-1 {vault: <pool>, opcode: (buff 16)})
    (hop-2 {vault: <pool>, opcode: (buff 16)})
    (out {token: <sip010>, to: principal}))
  (let (
      (pulled (try! (pull in)))
      (delta-1 (try! (swap (get amount in) hop-1)))
      (delta-2 (try! (swap (get dy delta-1) hop-2))))
    (try! (pay (get dy delta-2) out))
    (ok (list delta-1 delta-2))))

(define-public (x-swap-3
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)})
    (hop-1 {vault: <pool>, opcode: (buff 16)})
    (hop-2 {vault: <pool>, opcode: (buff 16)})
    (hop-3 {vault: <pool>, opcode: (buff 16)})
    (out {token: <sip010>, to: principal}))
  (let (
      (pulled (try! (pull in)))
      (delta-1 (try! (swap (get amount in) hop-1)))
      (delta-2 (try! (swap (get dy delta-1) hop-2)))
      (delta-3 (try! (swap (get dy delta-2) hop-3))))
    (try! (pay (get dy delta-3) out))
    (ok (list delta-1 delta-2 delta-3))))

(define-public (x-swap-4
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)})
    (hop-1 {vault: <pool>, opcode: (buff 16)})
    (hop-2 {vault: <pool>, opcode: (buff 16)})
    (hop-3 {vault: <pool>, opcode: (buff 16)})
    (hop-4 {vault: <pool>, opcode: (buff 16)})
    (out {token: <sip010>, to: principal}))
  (let (
      (pulled (try! (pull in)))
      (delta-1 (try! (swap (get amount in) hop-1)))
      (delta-2 (try! (swap (get dy delta-1) hop-2)))
      (delta-3 (try! (swap (get dy delta-2) hop-3)))
      (delta-4 (try! (swap (get dy delta-3) hop-4))))
    (try! (pay (get dy delta-4) out))
    (ok (list delta-1 delta-2 delta-3 delta-4))))

(define-public (x-swap-5
    (in {token: <subnet-token>, amount: uint, signature: (buff 65), uuid: (string-ascii 36)})
    (hop-1 {vault: <pool>, opcode: (buff 16)})
    (hop-2 {vault: <pool>, opcode: (buff 16)})
    (hop-3 {vault: <pool>, opcode: (buff 16)})
    (hop-4 {vault: <pool>, opcode: (buff 16)})
    (hop-5 {vault: <pool>, opcode: (buff 16)})
    (out {token: <sip010>, to: principal}))
  (let (
      (pulled (try! (pull in)))
      (delta-1 (try! (swap (get amount in) hop-1)))
      (delta-2 (try! (swap (get dy delta-1) hop-2)))
      (delta-3 (try! (swap (get dy delta-2) hop-3)))
      (delta-4 (try! (swap (get dy delta-3) hop-4)))
      (delta-5 (try! (swap (get dy delta-4) hop-5))))
    (try! (pay (get dy delta-5) out))
    (ok (list delta-1 delta-2 delta-3 delta-4 delta-5))))
