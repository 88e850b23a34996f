import * as z from 'zod'
import type { Action } from './action.ts'

/** Members of every action message. The optional ones, where present, must match this service, its network and the signer. */
const commonMembers = {
  timestamp: z.int().meta({
    description:
      'Milliseconds since 1970. How old it may be is limits.signatureMaxAgeSeconds of GET /info.',
  }),
  domain: z.string().optional(),
  network: z.string().optional(),
  walletAddress: z.string().optional(),
}

/** An event of the wallet's audit chain: in a message the newest one that its signer knows, in a response the one it appended. */
export const AuditHeadSchema = z
  .strictObject({
    sequence: z.int().min(1).max(2_147_483_647),
    hash: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hexadecimal digits'),
  })
  .meta({ id: 'AuditHead' })

/** The members of one action's message. Unknown members are refused: nothing that a wallet signed is silently ignored. */
export function actionSchema<Members extends z.ZodRawShape>(
  action: Action,
  members: Members,
  example: Record<string, unknown> = {},
) {
  return z.strictObject({ action: z.literal(action), ...members, ...commonMembers }).meta({
    id: `${action}_message`,
    // Not `examples`, which zod leaves out where a member is transformed.
    sample: { action, ...example, timestamp: 1_795_240_980_000 },
  })
}

export type ActionSchema = z.ZodType<{
  action: Action
  timestamp: number
  domain?: string | undefined
  network?: string | undefined
  walletAddress?: string | undefined
  /** Of a revoke_api_key certificate: when it ends. */
  notAfter?: string | number | undefined
}>

/** A signed message in a JSON body. */
export const SignedBody = z
  .strictObject({
    message: z.string().meta({ description: 'The exact text that was signed.' }),
    signature: z.string().meta({ description: '65 bytes hex, RSV or VRS, with or without 0x.' }),
    walletAddress: z.string().meta({ description: 'The Stacks address that signed.' }),
    publicKey: z
      .string()
      .optional()
      .meta({ description: 'Checked against the signature when sent.' }),
  })
  .meta({
    id: 'SignedMessage',
    examples: [
      {
        message: '{"action":"..","timestamp":1795240980000}',
        signature: '00'.repeat(65),
        walletAddress: 'ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG',
      },
    ],
  })

/** A signed message in headers, for GET. */
export const SignedHeaders = z.object({
  'X-Message': z.string(),
  'X-Signature': z.string(),
  'X-Wallet-Address': z.string(),
  'X-Public-Key': z.string().optional(),
})
