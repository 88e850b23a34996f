import * as z from 'zod'

/** GitHub adds members from time to time: what is not known is left out. */
export const LeakReport = z.object({
  token: z.string().max(512).meta({ description: 'The text that looks like a secret.' }),
  type: z.string().max(128).meta({ example: 'latchkey_api_key' }),
  url: z.string().max(2_048).default('').meta({
    description: 'Where it was found.',
    example: 'https://github.com/octocat/bot/blob/main/.env',
  }),
  source: z.string().max(64).default('').meta({ example: 'content' }),
})
export type LeakReport = z.output<typeof LeakReport>

export const LeakReports = z.array(LeakReport).min(1).max(100)

export const LeakReportHeaders = z.object({
  'Github-Public-Key-Identifier': z
    .string()
    .min(1)
    .max(256)
    .meta({ description: 'Which of the keys that GitHub lists has signed the body.' }),
  'Github-Public-Key-Signature': z
    .string()
    .min(1)
    .max(256)
    .meta({ description: 'Base64 of the DER signature of the body: ECDSA, P-256, SHA-256.' }),
})

const LeakVerdict = z.object({
  token_hash: z.string().meta({ description: 'SHA-256 of the token, hex.' }),
  token_type: z.string(),
  label: z
    .enum(['true_positive', 'false_positive'])
    .meta({ description: 'Whether it is, or was, the secret of a key.' }),
})
export type LeakVerdict = z.output<typeof LeakVerdict>

export const LeakVerdicts = z.array(LeakVerdict)
