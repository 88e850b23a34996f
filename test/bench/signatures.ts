import { verifyMessageSignatureRsv } from '@stacks/encryption'
import { INPUT_TOKEN, ROUTER } from '../../src/devnet/constants.ts'
import { loadNative } from '../../src/node/recover.ts'
import { verifyIntent } from '../../src/stacks/intent.ts'
import { nobleRecover, type Recover } from '../../src/stacks/recover.ts'
import { addressOf, publicKeyOf, signIntent, signMessage } from '../../src/stacks/sign.ts'
import { verifyMessage } from '../../src/stacks/signature.ts'
import { walletKey } from './keys.ts'
import { answerCalls } from './remote.ts'

/** Checks signatures, in a process of its own. */
export interface Signatures {
  names(): string[]
  /** How many a second, over so many seconds. */
  measure(name: string, seconds: number): number
}

/** So many wallets, each with a message and an intent of its own. */
const DISTINCT = 500
const network = 'devnet'

const claims = Array.from({ length: DISTINCT }, (_, n) => {
  const privateKey = walletKey(n)
  const message = JSON.stringify({ action: 'execute_order', uuid: `order-${n}`, timestamp: n })
  const intent = {
    inputToken: INPUT_TOKEN,
    amountIn: `${n + 1}`,
    uuid: `order-${n}`,
    router: ROUTER,
  }
  const walletAddress = addressOf(privateKey, network)
  return {
    stacks: {
      message,
      publicKey: publicKeyOf(privateKey),
      signature: signMessage({ message, privateKey }),
    },
    message: { message, walletAddress, network, signature: signMessage({ message, privateKey }) },
    intent: {
      ...intent,
      owner: walletAddress,
      network,
      signature: signIntent({ ...intent, network, privateKey }),
    },
  } as const
})
type Claim = (typeof claims)[number]

const native = loadNative()
const SUBJECTS: Record<string, (claim: Claim) => boolean> = {
  'stacks.js verifyMessageSignatureRsv': ({ stacks }) => verifyMessageSignatureRsv(stacks),
  ...ours('noble', nobleRecover),
  ...(native && ours('libsecp256k1', native)),
}

function ours(engine: string, recover: Recover): Record<string, (claim: Claim) => boolean> {
  return {
    [`verifyMessage with ${engine}`]: ({ message }) => verifyMessage({ ...message, recover }).ok,
    [`verifyIntent with ${engine}`]: ({ intent }) => verifyIntent({ ...intent, recover }).ok,
  }
}

const calls: Signatures = {
  names: () => Object.keys(SUBJECTS),
  measure(name, seconds) {
    const verify = SUBJECTS[name]
    if (verify === undefined) throw new Error(`no such subject: ${name}`)
    const begun = performance.now()
    const end = begun + seconds * 1000
    let checked = 0
    for (; performance.now() < end; checked++)
      if (!verify(claims[checked % DISTINCT] as Claim)) throw new Error(`${name} refuses`)
    return checked / ((performance.now() - begun) / 1000)
  },
}

answerCalls(calls, () => undefined)
