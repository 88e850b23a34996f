import { randomBytes as bytesOf } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { openEncryption } from '../../src/crypto/encryption.ts'
import { encryptionKey } from '../../src/crypto/keys.ts'
import { openNativeEncryption } from '../../src/node/crypto.ts'

const randomBytes = (length: number) => new Uint8Array(bytesOf(length))
const key = encryptionKey(randomBytes(32))
const other = encryptionKey(randomBytes(32))
const native = await openNativeEncryption([key])
const portable = await openEncryption([key], randomBytes)
const PAIRS = [
  { from: 'native', to: 'portable', encryption: native, decryption: portable },
  { from: 'portable', to: 'native', encryption: portable, decryption: native },
  { from: 'native', to: 'native', encryption: native, decryption: native },
] as const

describe.each(PAIRS)('a box of the $from cipher', ({ to, encryption, decryption }) => {
  const secret = randomBytes(65)

  it(`decrypts with the ${to} one`, async () => {
    expect(await decryption.decrypt(await encryption.encrypt(secret, 'label'), 'label')).toEqual(
      secret,
    )
  })

  it(`does not decrypt with the ${to} one once any of its bytes was changed`, async () => {
    const box = await encryption.encrypt(secret, 'label')
    for (const at of box.keys()) {
      const changed = Uint8Array.from(box)
      changed[at] = (changed[at] as number) ^ 1
      await expect(decryption.decrypt(changed, 'label')).rejects.toThrow()
    }
  })

  it(`does not decrypt with the ${to} one when it is cut, or under another label`, async () => {
    const box = await encryption.encrypt(secret, 'label')
    for (const length of box.keys())
      await expect(decryption.decrypt(box.subarray(0, length), 'label')).rejects.toThrow()
    await expect(decryption.decrypt(box, 'labels')).rejects.toThrow()
  })
})

it('the native cipher never uses a nonce twice', async () => {
  const boxes = await Promise.all(
    Array.from({ length: 1_000 }, () => native.encrypt(new Uint8Array(1), 'label')),
  )
  const nonces = boxes.map((box) => Buffer.from(box.subarray(5, 17)).toString('hex'))
  expect(new Set(nonces).size).toBe(1_000)
})

it('the native cipher decrypts with each configured key, and with no other', async () => {
  const both = await openNativeEncryption([other, key])
  const box = await native.encrypt(new Uint8Array(8), 'label')
  expect(await both.decrypt(box, 'label')).toEqual(new Uint8Array(8))
  expect(both.isCurrent(box)).toBe(false)
  await expect((await openNativeEncryption([other])).decrypt(box, 'label')).rejects.toThrow()
})
