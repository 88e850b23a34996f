import { useEffect, useMemo } from 'preact/hooks'
import { LatchkeyError } from '../client/errors.ts'
import { createStore } from '../store/observable.ts'
import { hasEnded } from './connection.ts'
import { formatCountdown } from './format.ts'
import { say, sayIfKnown } from './language.ts'
import { useNow } from './load.ts'
import { Button, Icon, type IconName, type Tone } from './parts.tsx'

/** What went wrong, as a visitor can act on it. Each has a title and a text in the dictionary. */
type Fault =
  | 'offline'
  | 'cancelled'
  | 'noWallet'
  | 'wrongNetwork'
  | 'wrongAccount'
  | 'switched'
  | 'multisig'
  | 'unsupported'
  | 'brokenWallet'
  | 'late'
  | 'clock'
  | 'ended'
  | 'limited'
  | 'suspended'
  | 'tampered'
  | 'unavailable'
  | 'notExport'
  | 'otherExport'
  | 'other'

/** A fault that the page itself found. */
export class PageFault extends Error {
  readonly fault: Fault
  constructor(fault: Fault) {
    super(fault)
    this.fault = fault
  }
}

const FAULTS: Readonly<Record<string, Fault>> = {
  UNREACHABLE: 'offline',
  TIMEOUT: 'offline',
  SIGNING_CANCELLED: 'cancelled',
  SIGNER_MISSING: 'noWallet',
  WRONG_NETWORK: 'wrongNetwork',
  WRONG_ACCOUNT: 'wrongAccount',
  MULTISIG_ADDRESS: 'multisig',
  WALLET_UNSUPPORTED: 'unsupported',
  WALLET_FAULT: 'brokenWallet',
  SIGNING_FAILED: 'brokenWallet',
  SIGNED_TOO_LATE: 'late',
  CLOCK_SKEW: 'clock',
  EXPIRED_TIMESTAMP: 'clock',
  INVALID_SESSION: 'ended',
  RATE_LIMIT_EXCEEDED: 'limited',
  SETTLEMENT_LIMIT_EXCEEDED: 'limited',
  TOO_MANY_STREAMS: 'limited',
  WALLET_SUSPENDED: 'suspended',
  AUDIT_HEAD_UNKNOWN: 'tampered',
  ORDER_TAMPERED: 'tampered',
  UNAVAILABLE: 'unavailable',
}

const LOOKS: Readonly<Record<Fault, readonly [IconName, Tone]>> = {
  offline: ['offline', 'warn'],
  cancelled: ['wallet', 'plain'],
  noWallet: ['wallet', 'info'],
  wrongNetwork: ['wallet', 'warn'],
  wrongAccount: ['wallet', 'warn'],
  switched: ['wallet', 'info'],
  multisig: ['wallet', 'warn'],
  unsupported: ['wallet', 'warn'],
  brokenWallet: ['wallet', 'bad'],
  late: ['clock', 'warn'],
  clock: ['clock', 'warn'],
  ended: ['clock', 'info'],
  limited: ['clock', 'warn'],
  suspended: ['stop', 'bad'],
  tampered: ['alert', 'bad'],
  unavailable: ['offline', 'warn'],
  notExport: ['alert', 'warn'],
  otherExport: ['alert', 'warn'],
  other: ['alert', 'bad'],
}

/** What the page found of the wallet's audit that contradicts it. It is told above every view. */
export const tampering = createStore<string | undefined>(undefined)

/** What the SDK says of these is what the visitor has to know: an account, or what a wallet cannot do. */
const OPEN_DETAILS: readonly Fault[] = ['wrongAccount', 'multisig', 'unsupported', 'brokenWallet']

export function faultOf(error: unknown): Fault {
  if (error instanceof PageFault) return error.fault
  if (!(error instanceof LatchkeyError)) return navigator.onLine ? 'other' : 'offline'
  return FAULTS[error.code] ?? 'other'
}

/**
 * An error, with what can be done about it. Where the service says how long to wait, it counts down; then it tries again by
 * itself, unless that would open a wallet: `needsClick`.
 */
export function Problem(props: {
  error: unknown
  onRetry?: () => void
  onDismiss?: () => void
  needsClick?: boolean
}) {
  const { error, onRetry, onDismiss, needsClick = false } = props
  const fault = faultOf(error)
  const seconds = error instanceof LatchkeyError ? error.retryAfterSeconds : undefined
  useEffect(() => {
    if (fault === 'tampered') tampering.set(textOf(error))
  }, [error])
  useEffect(() => {
    if (fault !== 'offline' || onRetry === undefined) return
    addEventListener('online', onRetry)
    return () => removeEventListener('online', onRetry)
  }, [fault, onRetry])
  // The banner above every view tells it, and offers another session.
  if (fault === 'ended' && hasEnded.get()) return null
  const [icon, tone] = LOOKS[fault]
  return (
    <div class={`problem ${tone}`} role="alert">
      <Icon name={icon} size={20} />
      <div class="problem-text">
        <h2>{say(`fault.${fault}`)}</h2>
        <p>{sayIfKnown(`fault.${fault}.text`) ?? textOf(error)}</p>
        {fault !== 'other' && textOf(error) !== '' && (
          <details open={OPEN_DETAILS.includes(fault)}>
            <summary>{say('details')}</summary>
            <p class="mono small">{textOf(error)}</p>
          </details>
        )}
        {fault === 'noWallet' && <WalletLinks />}
      </div>
      <div class="actions">
        {fault === 'limited' && seconds !== undefined ? (
          <Wait of={error} seconds={seconds} onRetry={onRetry} needsClick={needsClick} />
        ) : (
          onRetry && fault !== 'ended' && <Button onClick={onRetry}>{say('retry')}</Button>
        )}
        {onDismiss && <Button onClick={onDismiss}>{say('dismiss')}</Button>}
      </div>
    </div>
  )
}

/** The time until a request is allowed again, and what comes then. */
function Wait(props: {
  of: unknown
  seconds: number
  onRetry: (() => void) | undefined
  needsClick: boolean
}) {
  const { of, seconds, onRetry, needsClick } = props
  const start = useMemo(() => Date.now(), [of])
  const left = seconds - (useNow(500) - start) / 1_000
  const isOver = left <= 0
  const retriesItself = onRetry !== undefined && !needsClick
  useEffect(() => {
    if (isOver && retriesItself) onRetry()
  }, [isOver])
  if (isOver && !retriesItself)
    return onRetry ? (
      <Button onClick={onRetry}>{say('retry')}</Button>
    ) : (
      <span role="status">{say('waitOver')}</span>
    )
  return (
    <span class="countdown" role="timer">
      {say(retriesItself ? 'retryIn' : 'waitFor', { time: formatCountdown(left) })}
    </span>
  )
}

const WALLETS = [
  ['Leather', 'https://leather.io'],
  ['Xverse', 'https://www.xverse.app'],
] as const

export function WalletLinks() {
  return (
    <p class="wallet-links">
      {WALLETS.map(([name, href]) => (
        <a key={name} href={href} target="_blank" rel="noreferrer">
          {say('install', { name })}
        </a>
      ))}
    </p>
  )
}

export function textOf(error: unknown): string {
  if (error instanceof PageFault) return ''
  if (!(error instanceof LatchkeyError)) return error instanceof Error ? error.message : ''
  const id = error.requestId === undefined ? '' : ` (${error.requestId})`
  return `${sayIfKnown(`code.${error.code}`) ?? error.message}${issuesOf(error)}${id}`
}

function issuesOf({ details }: LatchkeyError): string {
  const issues = details?.issues
  if (!Array.isArray(issues)) return ''
  return issues.map(({ path, message }) => ` ${path}: ${message}.`).join('')
}
