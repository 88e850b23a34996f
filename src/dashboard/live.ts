import { useEffect } from 'preact/hooks'
import { followWhileSeen } from '../store/loads.ts'
import { reader } from './clients.ts'
import { connection } from './connection.ts'
import { renewLive, showsLive } from './load.ts'
import { useStore } from './store.ts'

/** Keeps what is live on the page current, by one stream for the wallet, while it is shown and the page is seen. */
export function useLiveData(): void {
  const current = useStore(connection)
  const isShown = useStore(showsLive)
  useEffect(() => {
    if (current === undefined || !isShown) return
    return followWhileSeen((signal) => reader().sessions.watch({ signal }), renewLive)
  }, [current, isShown])
}
