import { useEffect } from 'preact/hooks'
import { followWhileSeen } from '../store/loads.ts'
import { reader } from './clients.ts'
import { connection } from './connection.ts'
import { renewLive } from './load.ts'
import { useStore } from './store.ts'

/** Keeps what is live on the page current, by one stream for the wallet, over all its views, while the page is seen. */
export function useLiveData(): void {
  const current = useStore(connection)
  useEffect(() => {
    if (current === undefined) return
    return followWhileSeen((signal) => reader().sessions.watch({ signal }), renewLive)
  }, [current])
}
