import { useEffect } from 'preact/hooks'
import { reader } from './clients.ts'
import { connection } from './connection.ts'
import { renewLive } from './load.ts'
import { useStore } from './store.ts'

/** Keeps what is live on the page current, by one stream for the wallet, while the page is seen. */
export function useLiveData(): void {
  const current = useStore(connection)
  useEffect(() => {
    if (current === undefined) return
    let watching = new AbortController()
    const follow = () => {
      watching.abort()
      watching = new AbortController()
      if (document.visibilityState === 'visible') void watch(watching.signal)
    }
    follow()
    document.addEventListener('visibilitychange', follow)
    // A stream may outlive the network by a minute: what the browser knows is told at once.
    for (const event of ['offline', 'online']) addEventListener(event, renewLive)
    return () => {
      for (const event of ['offline', 'online']) removeEventListener(event, renewLive)
      document.removeEventListener('visibilitychange', follow)
      watching.abort()
    }
  }, [current])
}

async function watch(signal: AbortSignal): Promise<void> {
  try {
    for await (const _ of reader().sessions.watch({ signal })) renewLive()
  } catch {
    // The page is left, or hidden: it is followed anew once it is seen.
  }
}
