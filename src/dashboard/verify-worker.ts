import {
  type AuditExport,
  type AuditHead,
  type AuditVerdict,
  verifyAudit,
} from '../client/index.ts'

export interface VerifyRequest {
  audit: AuditExport
  older: AuditExport | undefined
  head: AuditHead | undefined
  maxMessageAgeSeconds: number | undefined
}

export type VerifyAnswer = { verdict: AuditVerdict } | { failure: string }

/** Recovers a public key for each of the wallet's acts: apart from the page, which stays responsive. */
addEventListener('message', ({ data }: MessageEvent<VerifyRequest>) => {
  postMessage(answerTo(data))
})

function answerTo({ audit, older, head, maxMessageAgeSeconds }: VerifyRequest): VerifyAnswer {
  try {
    const verdict = verifyAudit(audit, {
      older,
      head,
      ...(maxMessageAgeSeconds !== undefined && { maxMessageAgeSeconds }),
    })
    return { verdict }
  } catch (error) {
    return { failure: error instanceof Error ? error.message : String(error) }
  }
}
