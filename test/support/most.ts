import { KEY_TERMS, MAX_HEARTBEAT_SECONDS } from '../../src/keys/terms.ts'
import { addressOf } from '../../src/stacks/sign.ts'

const MOST = 20
const RECIPIENTS = Array.from({ length: MOST }, (_, at) =>
  addressOf(`${String(at + 1).padStart(64, '0')}01`, 'devnet'),
)
const AMOUNT = '9'.repeat(39)

/** The members of a grant that sets each limit and text to the longest value that it may have. */
export function mostOfEverything(walletAddress: string, now: number) {
  const each = <T>(make: (digits: string) => T) =>
    Array.from({ length: MOST }, (_, at) => make(String(at).padStart(2, '0')))
  const tokens = each((digits) => `${walletAddress}.${'t'.repeat(38)}${digits}`)
  const emoji = (name: 'name' | 'label' | 'justification') =>
    '😀'.repeat((KEY_TERMS[name] as { maxCharacters: number }).maxCharacters)
  return {
    keyName: emoji('name'),
    expiresAt: now + 86_400_000,
    rateLimit: 100,
    ipAllowlist: each((digits) => `1111:2222:3333:4444:5555:6666:7777:88${digits}/128`),
    tokens,
    recipients: RECIPIENTS,
    maxAmountIn: Object.fromEntries(
      tokens.map((token) => [token, { perOrder: AMOUNT, perDay: AMOUNT }]),
    ),
    ownOrdersOnly: true,
    maxOpenOrders: 10_000,
    heartbeat: { seconds: MAX_HEARTBEAT_SECONDS, then: 'suspend' as const },
    alerts: {
      newAddress: { action: 'suspend' as const },
      newNetwork: { action: 'suspend' as const },
      errorRate: { percent: 100, requests: 1_000_000, action: 'suspend' as const },
      requestsPerMinute: { above: 1_000_000, action: 'suspend' as const },
      spendPerHour: {
        above: Object.fromEntries(
          tokens.slice(0, 5).map((token) => [token, `1${AMOUNT.slice(1)}`]),
        ),
        action: 'suspend' as const,
      },
      expiring: { action: 'notify' as const },
    },
    label: emoji('label'),
    justification: emoji('justification'),
  }
}
