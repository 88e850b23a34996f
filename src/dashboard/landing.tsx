import { useState } from 'preact/hooks'
import { hasSwitched, service } from './connection.ts'
import { isConnecting } from './dialogs.ts'
import { say, type TextName } from './language.ts'
import { loadConnected } from './lazy.ts'
import { useAct } from './load.ts'
import { Button, Chip, Icon, type IconName } from './parts.tsx'
import { PageFault, Problem } from './problem.tsx'
import { useStore } from './store.ts'
import type { InstalledWallet } from './wallets.ts'

const POINTS: readonly (readonly [IconName, TextName, TextName])[] = [
  ['wallet', 'point.grant', 'point.grant.text'],
  ['shield', 'point.limits', 'point.limits.text'],
  ['stop', 'point.revoke', 'point.revoke.text'],
]

const SWITCHED = new PageFault('switched')

/** What a visitor without a wallet sees. */
export function Landing() {
  const info = useStore(service)
  const [choice, setChoice] = useState<InstalledWallet[]>()
  const start = (kind: 'throwaway' | 'wallet', walletId?: string) => async () => {
    isConnecting.set(true)
    const { connect } = await loadConnected()
    await connect(kind, walletId)
  }
  const throwaway = useAct(start('throwaway'))
  const wallet = useAct(async () => {
    const { installedWallets } = await loadConnected()
    const found = installedWallets()
    if (found.length > 1) return setChoice(found)
    await start('wallet', found[0]?.id)()
  })
  const isSwitched = useStore(hasSwitched)
  const error = wallet.error ?? throwaway.error
  const dismiss = () => {
    wallet.dismiss()
    throwaway.dismiss()
  }
  return (
    <div class="landing">
      <section class="hero">
        <div class="hero-text">
          <h1 tabIndex={-1}>{say('hero.title')}</h1>
          <p class="lead">{say('hero.text')}</p>
          <div class="actions">
            <Button kind="primary" icon="wallet" isBusy={wallet.isBusy} onClick={wallet.run}>
              {say('connect')}
            </Button>
            {/* Its place is kept until the service has said what it is: nothing moves when it does. */}
            {info === undefined && <span class="button later" aria-hidden="true" />}
            {info?.network === 'devnet' && (
              <Button isBusy={throwaway.isBusy} onClick={throwaway.run}>
                {say('throwaway')}
              </Button>
            )}
          </div>
          {choice && <WalletChoice wallets={choice} connect={start} />}
          <p class="muted small hero-note">
            {info === undefined
              ? ' '
              : say(info.network === 'devnet' ? 'throwaway.help' : 'connect.help')}
          </p>
        </div>
        <Sample />
      </section>
      {isSwitched && error === undefined && (
        <Problem error={SWITCHED} onDismiss={() => hasSwitched.set(false)} />
      )}
      {error !== undefined && (
        <Problem
          error={error}
          onRetry={wallet.error ? wallet.run : throwaway.run}
          needsClick
          onDismiss={dismiss}
        />
      )}
      <ul class="points">
        {POINTS.map(([icon, title, text]) => (
          <li key={title}>
            <span class="point-icon">
              <Icon name={icon} size={18} />
            </span>
            <h2>{say(title)}</h2>
            <p class="muted">{say(text)}</p>
          </li>
        ))}
      </ul>
    </div>
  )
}

function WalletChoice(props: {
  wallets: readonly InstalledWallet[]
  connect: (kind: 'wallet', id: string) => () => Promise<void>
}) {
  return (
    <fieldset class="wallet-choice">
      <legend class="eyebrow">{say('connect.choose')}</legend>
      {props.wallets.map(({ id, name, icon }) => (
        <OneWallet key={id} name={name} icon={icon} connect={props.connect('wallet', id)} />
      ))}
    </fieldset>
  )
}

function OneWallet(props: {
  name: string
  icon: string | undefined
  connect: () => Promise<void>
}) {
  const { isBusy, error, run, dismiss } = useAct(props.connect)
  return (
    <>
      <button type="button" class="wallet-option" aria-busy={isBusy} onClick={run}>
        {props.icon?.startsWith('data:image/') ? (
          <img src={props.icon} alt="" width="24" height="24" />
        ) : (
          <Icon name="wallet" size={20} />
        )}
        {props.name}
      </button>
      {error !== undefined && <Problem error={error} onDismiss={dismiss} />}
    </>
  )
}

const SAMPLE_MESSAGE = [
  '{"action":"create_api_key",',
  '"permissions":["create","execute","cancel"],',
  '"ipAllowlist":["203.0.113.50"],…}',
]

/** A key as it is granted, for a visitor who has none. A picture: it says nothing that the text does not. */
function Sample() {
  return (
    <div class="sample" aria-hidden="true">
      <div class="sample-card">
        <div class="sample-head">
          <span class="sample-name">market maker</span>
          <Chip tone="ok" dot>
            {say('status.active')}
          </Chip>
        </div>
        <code class="mono muted">ck_live_7Qm…R4xT</code>
        <div class="chips">
          <Chip>create</Chip>
          <Chip>execute</Chip>
          <Chip>cancel</Chip>
        </div>
        <dl class="sample-facts">
          <div>
            <dt>{say('limit.perDay')}</dt>
            <dd>20 KEY</dd>
          </div>
          <div>
            <dt>{say('limit.from')}</dt>
            <dd>203.0.113.50</dd>
          </div>
        </dl>
        <svg viewBox="0 0 240 44" class="sample-bars" aria-hidden="true">
          {[9, 14, 11, 18, 24, 20, 31, 27, 22, 30, 36, 28, 33, 40, 35, 29, 38, 42, 37, 41].map(
            (height, at) => (
              <rect
                key={height + at}
                x={at * 12}
                y={44 - height}
                width="8"
                height={height}
                rx="2"
              />
            ),
          )}
        </svg>
      </div>
      <div class="sample-sign">
        <span class="sample-seal">
          <Icon name="check" size={14} />
        </span>
        <code>
          <span>
            {SAMPLE_MESSAGE.map((line) => (
              <span key={line}>{line}</span>
            ))}
          </span>
        </code>
      </div>
    </div>
  )
}
