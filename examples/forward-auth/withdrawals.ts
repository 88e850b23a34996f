/**
 * Withdrawals, for keys with the scope `withdraw`: to the wallet that the key is of and to no other, so that a stolen key moves funds to
 * their owner alone. A request carries an id of its own: sent twice, it is one withdrawal.
 */
import { refuse, serveBackend } from './backend.ts'

interface Withdrawal {
  id: string
  recipient: string
  amount: string
  requestedBy: string
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/** By wallet and id. A real one is a table with a unique key, in the ledger's database. */
const withdrawals = new Map<string, Withdrawal>()

serveBackend('withdraw', {
  'POST /withdrawals': ({ walletAddress, keyId }, { body }) => {
    const { id, amount, recipient = walletAddress } = (body ?? {}) as Record<string, unknown>
    if (typeof id !== 'string' || !UUID.test(id)) return refuse(400, 'id is a UUID')
    if (typeof amount !== 'string' || !/^[1-9]\d{0,30}$/.test(amount))
      return refuse(400, 'amount is a whole number, as text')
    if (recipient !== walletAddress) return refuse(403, 'the recipient is the wallet of the key')
    const name = `${walletAddress} ${id}`
    const known = withdrawals.get(name)
    if (known !== undefined)
      return known.amount === amount ? { status: 200, body: known } : refuse(409, 'id is used')
    const made = { id, recipient: walletAddress, amount, requestedBy: keyId }
    withdrawals.set(name, made)
    return { status: 201, body: made }
  },
})
