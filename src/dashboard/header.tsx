import { connection, forgetConnection, hasEnded, service } from './connection.ts'
import { openDialog } from './dialogs.ts'
import { formatCountdown } from './format.ts'
import { say, type TextName } from './language.ts'
import { loadConnected } from './lazy.ts'
import { useNow } from './load.ts'
import { CopyButton, Icon, type IconName, Mono } from './parts.tsx'
import { route } from './router.ts'
import { useStore } from './store.ts'

const PLACES: readonly (readonly [path: string, name: TextName, icon: IconName])[] = [
  ['keys', 'nav.keys', 'key'],
  ['orders', 'nav.orders', 'swap'],
  ['audit', 'nav.audit', 'shield'],
]

export function Header() {
  const current = useStore(connection)
  const { parts } = useStore(route)
  const network = useStore(service)?.network
  const here = parts[0] ?? 'keys'
  return (
    <header class="header">
      <div class="header-in">
        <a class="brand" href="#/" aria-label="Latchkey">
          <Logo />
          <span>Latchkey</span>
        </a>
        {network && <span class={`network ${network}`}>{network}</span>}
        {current && (
          <nav class="nav" aria-label={say('nav')}>
            {PLACES.map(([path, name, icon]) => (
              <a key={path} href={`#/${path}`} aria-current={here === path ? 'page' : undefined}>
                <Icon name={icon} />
                {say(name)}
              </a>
            ))}
          </nav>
        )}
        <span class="grow" />
        {current ? (
          <>
            <button
              type="button"
              class="panic"
              aria-label={say('panic')}
              onClick={() => openDialog.set('panic')}
            >
              <Icon name="stop" />
              <span>{say('panic')}</span>
            </button>
            <WalletMenu />
          </>
        ) : (
          <a class="button plain" href="/docs">
            {say('docs')}
          </a>
        )}
      </div>
    </header>
  )
}

function Logo() {
  return (
    <svg width="28" height="28" viewBox="0 0 32 32" aria-hidden="true" class="logo">
      <rect width="32" height="32" rx="8" />
      <circle cx="12" cy="16" r="5" />
      <path d="M17 16h9m-3.6 0v4.4" />
    </svg>
  )
}

function WalletMenu() {
  const current = useStore(connection)
  const isOver = useStore(hasEnded)
  const now = useNow()
  if (current === undefined) return null
  const { address, kind, endsAt } = current
  const left = isOver ? 0 : Math.max(0, (endsAt - now) / 1_000)
  return (
    <>
      <button type="button" class="wallet" popovertarget="wallet-menu">
        <span class={`wallet-dot ${left > 0 ? 'ok' : 'bad'}`} aria-hidden="true" />
        <Mono text={address} />
        <span class="session" title={say('session.help')}>
          {left > 0 ? formatCountdown(left) : say('session.over')}
        </span>
        <Icon name="down" size={14} />
      </button>
      <div class="menu" id="wallet-menu" popover="auto">
        <p class="eyebrow">{say(kind === 'throwaway' ? 'wallet.throwaway' : 'wallet.connected')}</p>
        <p class="menu-address">
          <Mono text={address} short={false} />
          <CopyButton text={address} label={say('address')} />
        </p>
        <p class="muted small">{say('session.help')}</p>
        <a class="menu-item" href="#/funds">
          <Icon name="wallet" /> {say('funds')}
        </a>
        <button type="button" class="menu-item" onClick={leave}>
          <Icon name="out" /> {say('disconnect')}
        </button>
      </div>
    </>
  )
}

async function leave(): Promise<void> {
  const { disconnect } = await loadConnected()
  await disconnect()
  forgetConnection()
}
