import type { FunctionComponent } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { VERSION } from '../version.ts'
import { connection, hasEnded, service } from './connection.ts'
import { isConnecting } from './dialogs.ts'
import { Header } from './header.tsx'
import { Landing } from './landing.tsx'
import { keepLanguage, LANGUAGES, type Language, language, say } from './language.ts'
import { loadConnected } from './lazy.ts'
import { underway } from './load.ts'
import { Skeleton } from './parts.tsx'
import { Problem } from './problem.tsx'
import { route } from './router.ts'
import { requestInfo } from './service-info.ts'
import { useStore } from './store.ts'
import { keepTheme, THEMES, type Theme, theme } from './theme.ts'
import { Toasts } from './toasts.tsx'

export function App() {
  useStore(language)
  const current = useStore(connection)
  const [error, setError] = useState<unknown>()
  const [attempt, setAttempt] = useState(0)
  useEffect(() => {
    requestInfo().then((info) => {
      service.set(info)
      setError(undefined)
    }, setError)
  }, [attempt])
  const retry = () => setAttempt((before) => before + 1)
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
        {say('skip')}
      </button>
      <Header />
      <main id="main" tabIndex={-1}>
        {error !== undefined && <Problem error={error} onRetry={retry} />}
        {current === undefined ? <Landing /> : <ConnectedPart />}
      </main>
      <Footer />
      <Dialogs />
      <Toasts />
      <Progress />
    </>
  )
}

function Progress() {
  const count = useStore(underway)
  return count > 0 ? <div class="progress" role="progressbar" aria-label={say('loading')} /> : null
}

type Connected = Awaited<ReturnType<typeof loadConnected>>

function useConnected(): { part: Connected | undefined; error: unknown; retry: () => void } {
  const [part, setPart] = useState<Connected>()
  const [error, setError] = useState<unknown>()
  const [attempt, setAttempt] = useState(0)
  useEffect(() => {
    loadConnected().then((loaded) => setPart(() => loaded), setError)
  }, [attempt])
  return { part, error, retry: () => setAttempt(attempt + 1) }
}

function ConnectedPart() {
  const { part, error, retry } = useConnected()
  useStore(route)
  useStore(hasEnded)
  if (error !== undefined) return <Problem error={error} onRetry={retry} />
  const View: FunctionComponent | undefined = part?.ConnectedView
  return View === undefined ? <Skeleton /> : <View />
}

/** The dialogs that may open over every view, once their code is there. */
function Dialogs() {
  const [part, setPart] = useState<Connected>()
  const current = useStore(connection)
  const isWanted = useStore(isConnecting) || current !== undefined
  useEffect(() => {
    if (isWanted)
      loadConnected().then(
        (loaded) => setPart(() => loaded),
        () => {},
      )
  }, [isWanted])
  const View: FunctionComponent | undefined = part?.ConnectedDialogs
  return View === undefined ? null : <View />
}

function Footer() {
  const chosen = useStore(theme)
  const spoken = useStore(language)
  return (
    <footer class="footer">
      <span>Latchkey {VERSION}</span>
      <a href="/docs">{say('docs')}</a>
      <span class="grow" />
      <label>
        <span class="hidden">{say('language')}</span>
        <select
          value={spoken}
          onChange={(event) => void keepLanguage(event.currentTarget.value as Language)}
        >
          {Object.entries(LANGUAGES).map(([code, name]) => (
            <option value={code} key={code}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        <span class="hidden">{say('theme')}</span>
        <select value={chosen} onChange={(event) => keepTheme(event.currentTarget.value as Theme)}>
          {THEMES.map((one) => (
            <option value={one} key={one}>
              {say(`theme.${one}`)}
            </option>
          ))}
        </select>
      </label>
    </footer>
  )
}
