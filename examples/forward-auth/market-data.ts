/** Market data for keys with the scope `read`: the order book, and which wallet it was shown to. Run it behind deploy/nginx-forward-auth.conf. */
import { serveBackend } from './backend.ts'

const BOOK = { pair: 'STX-sBTC', bids: [['0.0000091', '1200']], asks: [['0.0000092', '900']] }

serveBackend('read', {
  'GET /market/book': ({ walletAddress }) => ({
    status: 200,
    body: { ...BOOK, shownTo: walletAddress },
  }),
})
