import type { AuditVerdict } from '../client/index.ts'
import type { VerifyAnswer, VerifyRequest } from './verify-worker.ts'
import workerUrl from './verify-worker.ts?worker&url'

interface Policy {
  createScriptURL(url: string): string
}
interface TrustedTypes {
  createPolicy(name: string, rules: Policy): Policy
}

/** The page's only Trusted Types policy: it names the script of the worker, and nothing else. */
const policy = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes?.createPolicy(
  'latchkey',
  {
    createScriptURL(url) {
      if (url !== workerUrl) throw new TypeError('no script of this page')
      return url
    },
  },
)

/** Verifies an audit in a worker. Rejects with the reason where the text is no audit. */
export function verifyInWorker(request: VerifyRequest): Promise<AuditVerdict> {
  const worker = new Worker(policy?.createScriptURL(workerUrl) ?? workerUrl, { type: 'module' })
  return new Promise<AuditVerdict>((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<VerifyAnswer>) => {
      if ('verdict' in data) resolve(data.verdict)
      else reject(new Error(data.failure))
    }
    worker.onerror = ({ message }) => reject(new Error(message))
    worker.postMessage(request)
  }).finally(() => worker.terminate())
}
