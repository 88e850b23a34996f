(define-trait subnet-token-trait
  (
    ;; signature, amount, uuid, target
    (x-transfer ((buff 65) uint (string-ascii 36) principal) (response bool uint))
  )
)
