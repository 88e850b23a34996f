import { useEffect } from 'preact/hooks'
import { renewLive } from './load.ts'

const POLL_MS = 6_000

/** Keeps what is live on the page current while the page is seen. */
export function useLiveData(): void {
  useEffect(() => {
    const renew = () => {
      if (document.visibilityState === 'visible') renewLive()
    }
    const timer = setInterval(renew, POLL_MS)
    document.addEventListener('visibilitychange', renew)
    return () => {
      clearInterval(timer)
      document.removeEventListener('visibilitychange', renew)
    }
  }, [])
}
