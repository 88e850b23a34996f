import { createHash } from 'node:crypto'
import { bytesToHex, hexToBytes } from '@stacks/common'
import { addressOf, signMessage } from '../../src/stacks/sign.ts'

/** A throw-away key that is the same in every run. */
export function privateKeyOf(name: string): string {
  return `${createHash('sha256').update(name).digest('hex')}01`
}

/** The one valid fixture: each case changes one of its members. */
export function signedFixture(name = 'alice') {
  const privateKey = privateKeyOf(name)
  const message = `{"action":"list_api_keys","timestamp":1763700000000,"of":"${name}"}`
  return {
    message,
    signature: signMessage({ message, privateKey }),
    walletAddress: addressOf(privateKey, 'mainnet') as string,
    network: 'mainnet' as const,
  }
}

export const toVrs = (rsv: string) => rsv.slice(-2) + rsv.slice(0, -2)

export const withRecovery = (rsv: string, recovery: string) => rsv.slice(0, -2) + recovery

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n

/**
 * The other signature of the same message that ECDSA allows: s becomes n - s, and the recovery id
 * turns.
 */
export function toHighS(rsv: string): string {
  const s = ORDER - BigInt(`0x${rsv.slice(64, 128)}`)
  const recovery = Number(`0x${rsv.slice(128)}`) ^ 1
  return `${rsv.slice(0, 64)}${s.toString(16).padStart(64, '0')}0${recovery}`
}

export function flipBit(hex: string, bit: number): string {
  const bytes = hexToBytes(hex)
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return bytesToHex(bytes)
}
