import { randomUUID } from 'node:crypto'
import type { ServiceProcess } from '../process.ts'
import { createKey, newWallet, type Wallet } from '../wallet.ts'

/** A way into the service: a process of its own, wherever it runs. */
export type Door = Pick<ServiceProcess, 'ask' | 'call' | 'clock'>

export interface Revocations {
  trials: number
  requests: number
  /** Requests that were sent after a key was granted, and refused. */
  freshRefused: number
  /** Requests that were sent after a revocation was answered, and let through. */
  acceptedAfter: number
  /** Answers that neither a live nor a revoked key gets, by status. */
  unexpected: Record<string, number>
}

/**
 * Grants a key through one process, uses it on both without a pause, revokes it through one of them, and watches both:
 * from the answer on, nothing that is sent with it may be let through.
 */
export async function revokeUnderLoad({
  one,
  other,
  trials,
  lanes = 8,
  users = 2,
  onTrial = () => {},
}: {
  one: Door
  other: Door
  trials: number
  /** Trials at once. */
  lanes?: number
  /** Callers that use the key on each process, each without a pause. */
  users?: number
  onTrial?: (tally: Revocations) => void
}): Promise<Revocations> {
  const tally: Revocations = {
    trials: 0,
    requests: 0,
    freshRefused: 0,
    acceptedAfter: 0,
    unexpected: {},
  }
  let begun = 0

  async function trial(wallet: Wallet, [granting, using]: [Door, Door]) {
    const { apiKey, keyId } = await createKey(granting, wallet)
    let revoked = false
    const use = async (process: Door) => {
      const late = revoked
      const answer = await process.ask(`/orders/${randomUUID()}/execute`, {
        method: 'POST',
        key: apiKey,
      })
      tally.requests++
      const isRefusal = answer?.status === 401 && answer.body.details?.reason === 'revoked'
      if (answer?.status !== 404 && !isRefusal) {
        const what = `${answer?.status} ${answer?.body?.code}`
        tally.unexpected[what] = (tally.unexpected[what] ?? 0) + 1
      } else if (late && !isRefusal) tally.acceptedAfter++
      return isRefusal
    }
    if (await use(using)) tally.freshRefused++

    let watched = true
    const watch = async (process: Door) => {
      while (watched) await use(process)
    }
    const watching = Array.from({ length: users }, () => [watch(granting), watch(using)]).flat()
    const response = await granting.call(`/api-keys/${keyId}`, {
      method: 'DELETE',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(wallet.sign({ action: 'delete_api_key', keyId })),
    })
    if (response.status === 200) revoked = true
    else tally.unexpected[`DELETE ${response.status}`] = 1
    await Promise.all([use(using), use(granting), use(using)])
    watched = false
    await Promise.all(watching)
    tally.trials++
    onTrial(tally)
  }

  const lane = async (place: number) => {
    const wallet = newWallet(one)
    const pair: [Door, Door] = place % 2 === 0 ? [one, other] : [other, one]
    while (begun < trials) {
      begun++
      await trial(wallet, pair)
    }
  }
  await Promise.all(Array.from({ length: lanes }, (_, place) => lane(place)))
  return tally
}
