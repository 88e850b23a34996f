import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { fromHex, toHex } from '../../src/crypto/bytes.ts'
import { openEncryption } from '../../src/crypto/encryption.ts'
import { type EncryptionKeys, encryptionKey, parseEncryptionKeys } from '../../src/crypto/keys.ts'
import { openMac } from '../../src/crypto/mac.ts'
import { openNativeMac } from '../../src/node/crypto.ts'

const random = (length: number) => Uint8Array.from(randomBytes(length))
const newKey = () => encryptionKey(random(32))
const utf8 = (text: string) => Uint8Array.from(Buffer.from(text))
const A = Buffer.alloc(32, 'a').toString('base64')
const B = Buffer.alloc(32, 'b').toString('base64')

/** What version 0.1.0 wrote with the key 00 01 .. 1f. */
const FIRST_RELEASE = {
  key: encryptionKey(Uint8Array.from({ length: 32 }, (_, at) => at)),
  label: 'order signature u-1',
  secret: 'an intent signature',
  box: '010707070707070707070707076e048635017bb29ab2bd60e9e73f95efd42ee82f43daa57bda580408e64d8a7978970b',
  text: '["session 1"]',
  mac: '4908f5b9299d63c5913be14244078c2d55d851bc7641b8f6bd19d2dbc553f072',
}

describe('Encryption keys', () => {
  it('are one key in base64, or several with ids, of which the first one writes', () => {
    expect(parseEncryptionKeys(A)?.map(({ bytes }) => toHex(bytes))).toEqual(['61'.repeat(32)])
    expect(parseEncryptionKeys(`2027:${B}, old-1:${A}`)?.map(({ id }) => id)).toEqual([
      '2027',
      'old-1',
    ])
  })

  it('have the same fingerprint and no other, with an id and without', () => {
    const [bare] = parseEncryptionKeys(A) as EncryptionKeys
    const [named, other] = parseEncryptionKeys(`old:${A},new:${B}`) as EncryptionKeys
    expect(named.fingerprint).toEqual(bare.fingerprint)
    expect(other?.fingerprint).not.toEqual(bare.fingerprint)
    expect(bare.id).toBe(toHex(bare.fingerprint).slice(0, 8))
  })

  it.each([
    '',
    `${A},${B}`,
    `${A} ${B}`,
    `a:${A},`,
    `a:${A},${B}`,
    `a:${A},a:${B}`,
    `a:${A},b:${A}`,
    `:${A}`,
    `A:${A}`,
    `a:${A.slice(4)}`,
  ])('are refused as %j', (text) => {
    expect(parseEncryptionKeys(text)).toBeUndefined()
  })
})

describe('A box', () => {
  it('decrypts with the key that it names, whatever is configured beside it', async () => {
    const [before, after] = [newKey(), newKey()]
    const box = await (await openEncryption([before], random)).encrypt(utf8('secret'), 'label')
    const rotated = await openEncryption([after, before], random)
    expect(Buffer.from(await rotated.decrypt(box, 'label')).toString()).toBe('secret')
    expect(rotated.isCurrent(box)).toBe(false)
    expect(rotated.isCurrent(await rotated.encrypt(utf8('secret'), 'label'))).toBe(true)
  })

  it('does not decrypt without its key, under another label, or changed in any byte', async () => {
    const key = newKey()
    const encryption = await openEncryption([key, newKey()], random)
    const box = await encryption.encrypt(utf8('secret'), 'label')
    const without = await openEncryption([newKey()], random)
    await expect(without.decrypt(box, 'label')).rejects.toThrow()
    await expect(encryption.decrypt(box, 'another')).rejects.toThrow()
    for (const at of box.keys()) {
      const changed = box.map((byte, index) => (index === at ? byte ^ 1 : byte))
      await expect(encryption.decrypt(changed, 'label'), `byte ${at}`).rejects.toThrow()
    }
  })

  it('of a release with one key decrypts, beside a newer key too', async () => {
    const { key, label, secret, box } = FIRST_RELEASE
    const boxes = [[key], [newKey(), key]] as EncryptionKeys[]
    for (const keys of boxes) {
      const encryption = await openEncryption(keys, random)
      const decrypted = await encryption.decrypt(fromHex(box), label)
      expect(Buffer.from(decrypted).toString()).toBe(secret)
      expect(encryption.isCurrent(fromHex(box))).toBe(false)
    }
    const another = await openEncryption([newKey()], random)
    await expect(another.decrypt(fromHex(box), label)).rejects.toThrow()
  })
})

describe.each([
  ['openMac', openMac],
  ['openNativeMac', openNativeMac],
])('A MAC of %s', (_, open) => {
  it('of a release with one key verifies, beside a newer key too', () => {
    const { key, text, mac } = FIRST_RELEASE
    expect(open([key])(text)).toBe(mac)
    expect(open([newKey(), key]).verify(text, mac)).toBe(true)
    expect(open([newKey()]).verify(text, mac)).toBe(false)
  })

  it('is written with the first key and verified with each', () => {
    const [before, after] = [newKey(), newKey()]
    const rotated = open([after, before])
    expect(rotated('text')).toBe(open([after])('text'))
    expect(rotated.accepted('text')).toEqual([open([after])('text'), open([before])('text')])
    for (const mac of rotated.accepted('text')) {
      expect(rotated.verify('text', mac)).toBe(true)
      expect(rotated.verify('another text', mac)).toBe(false)
    }
    expect(rotated.verify('text', null)).toBe(false)
  })
})
