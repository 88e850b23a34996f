import { parseBody, readBodyText } from '../http/body.ts'
import { headerOf, stateOf, worldOfRequest } from '../http/context.ts'
import { limitByAddress } from '../http/credentials/address.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { unwrap } from '../http/problem.ts'
import { respond } from '../http/respond.ts'
import { revokeLeaked } from '../leaks/report.ts'
import { LeakReportHeaders, LeakReports, LeakVerdicts } from '../leaks/schemas.ts'
import { refuse } from '../result.ts'

export const leakEndpoints: readonly Endpoint[] = [
  {
    method: 'post',
    path: '/leaks/github',
    operationId: 'reportLeaks',
    summary: 'Report secrets that were found in public, as GitHub does',
    description:
      'For the secret scanning partner programme of GitHub, whose signature of the body is the credential. Each key whose secret is reported is revoked at once; its owner reads where the secret was found in the audit. 501 where the operator has not turned it on.',
    credentials: ['none'],
    headers: LeakReportHeaders,
    body: { schema: LeakReports },
    responses: { 200: { description: 'A verdict for each', schema: LeakVerdicts } },
    refusals: [
      'invalidRequest',
      'bodyMissing',
      'bodyTooLarge',
      'unsupportedMedia',
      'leakReportUnsigned',
      'leakReportsOff',
      'unavailable',
    ],
    async handle(c) {
      limitByAddress(c)
      const world = worldOfRequest(c)
      if (world.verifyLeakReport === undefined) return unwrap(refuse('leakReportsOff'))
      const headers = LeakReportHeaders.safeParse({
        'Github-Public-Key-Identifier': headerOf(c, 'github-public-key-identifier'),
        'Github-Public-Key-Signature': headerOf(c, 'github-public-key-signature'),
      })
      if (!headers.success)
        return unwrap(
          refuse('leakReportUnsigned', {
            problem: 'Github-Public-Key-Identifier and Github-Public-Key-Signature are needed',
          }),
        )
      const text = unwrap(await readBodyText(c))
      const signed = {
        body: new TextEncoder().encode(text),
        keyId: headers.data['Github-Public-Key-Identifier'],
        signature: headers.data['Github-Public-Key-Signature'],
      }
      unwrap(await world.verifyLeakReport(signed))
      const reports = unwrap(parseBody(text, LeakReports))
      return respond(c, await revokeLeaked(world, reports, stateOf(c).now))
    },
  },
]
