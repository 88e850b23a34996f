(define-trait vault-trait
  (
    (execute (uint (optional (buff 16))) (response {dx: uint, dy: uint, dk: uint} uint))
    (quote (uint (optional (buff 16))) (response {dx: uint, dy: uint, dk: uint} uint))
  )
)
