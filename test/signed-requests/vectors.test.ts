import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseDictionary, parseItem, parseList } from 'structured-headers'
import { describe, expect, it } from 'vitest'
import { verifyEd25519 } from '../../src/crypto/ed25519.ts'
import { hmacSha256, verifyHmacSha256 } from '../../src/crypto/hmac.ts'
import { signatureBase, targetOfUrl } from '../../src/signed-requests/base.ts'
import { readSignedRequest } from '../../src/signed-requests/read.ts'

/** The request of RFC 9421 B.2. */
const HEADERS: Record<string, string> = {
  date: 'Tue, 20 Apr 2021 02:07:55 GMT',
  'content-type': 'application/json',
  'content-digest':
    'sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:',
  'content-length': '18',
}
const BODY = '{"hello": "world"}'
const TARGET = {
  method: 'POST',
  authority: 'example.com',
  ...targetOfUrl('https://example.com/foo?param=Value&Pet=dog'),
}

const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'))

function baseOf(components: string[], parameters: string): Uint8Array<ArrayBuffer> {
  const list = `(${components.map((name) => `"${name}"`).join(' ')})${parameters}`
  const base = signatureBase(components, list, TARGET, (name) => HEADERS[name])
  if (!base.ok) throw new Error(base.reason)
  return new TextEncoder().encode(base.value)
}

describe('RFC 9421', () => {
  it('B.2.5: HMAC-SHA-256 over date, authority and content type', () => {
    const key = bytes(
      'uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==',
    )
    const base = baseOf(
      ['date', '@authority', 'content-type'],
      ';created=1618884473;keyid="test-shared-secret"',
    )
    const signature = bytes('pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=')
    expect(hmacSha256(key, base)).toEqual(signature)
    expect(verifyHmacSha256(key, signature, base)).toBe(true)
  })

  it('B.2.6: Ed25519 over date, method, path, authority, content type and length', async () => {
    const publicKey = 'JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs'
    const base = baseOf(
      ['date', '@method', '@path', '@authority', 'content-type', 'content-length'],
      ';created=1618884473;keyid="test-key-ed25519"',
    )
    const signature = bytes(
      'wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==',
    )
    expect(await verifyEd25519(publicKey, signature, base)).toBe(true)
    for (let at = 0; at < signature.length; at++) {
      const changed = signature.slice()
      changed[at] = (changed[at] as number) ^ 1
      expect(await verifyEd25519(publicKey, changed, base)).toBe(false)
    }
  })

  it('B.2: the digest of the content is computed as it is there', () => {
    const components = ['@method', '@authority', '@path', '@query', 'content-digest']
    const input = `sig=(${components.map((name) => `"${name}"`).join(' ')});created=1618884473;nonce="12345678";keyid="key_1";tag="latchkey"`
    const header = (name: string) =>
      ({ ...HEADERS, 'signature-input': input, signature: 'sig=:AAAA:' })[name]
    const read = (body: string) => readSignedRequest({ ...TARGET, header, body }, 1_618_884_473_000)
    expect(read(BODY).ok).toBe(true)
    expect(read(`${BODY} `)).toMatchObject({ ok: false, reason: 'contentDigestMismatch' })
  })
})

/** The order of the group, little-endian: RFC 8032 s5.1. */
const ORDER = 2n ** 252n + 27_742_317_777_372_353_535_851_937_790_883_648_493n

describe('Ed25519', () => {
  const little = (number: bigint) =>
    Uint8Array.from({ length: 32 }, (_, at) => Number((number >> BigInt(8 * at)) & 255n))
  const numberOf = (part: Uint8Array) =>
    part.reduceRight((sum, byte) => (sum << 8n) + BigInt(byte), 0n)

  it('has one signature for a text: a scalar beyond the order of the group is none', async () => {
    const pair = (await crypto.subtle.generateKey('Ed25519', true, [
      'sign',
      'verify',
    ])) as CryptoKeyPair
    const { x = '' } = await crypto.subtle.exportKey('jwk', pair.publicKey)
    const data = new TextEncoder().encode('a request')
    const signature = new Uint8Array(await crypto.subtle.sign('Ed25519', pair.privateKey, data))
    expect(await verifyEd25519(x, signature, data)).toBe(true)
    const malleable = signature.slice()
    malleable.set(little(numberOf(signature.slice(32)) + ORDER), 32)
    expect(await verifyEd25519(x, malleable, data)).toBe(false)
    for (const wrong of [signature.slice(1), new Uint8Array(64), new Uint8Array()])
      expect(await verifyEd25519(x, wrong, data)).toBe(false)
    for (const key of ['', 'AAAA', 'not base64!', `${x}${x}`])
      expect(await verifyEd25519(key, signature, data)).toBe(false)
  })
})

describe('HMAC-SHA-256', () => {
  it('is verified whole: no part of it is one', () => {
    const key = new Uint8Array(32)
    const data = new TextEncoder().encode('a request')
    const mac = hmacSha256(key, data)
    for (let length = 0; length < mac.length; length++)
      expect(verifyHmacSha256(key, mac.slice(0, length), data)).toBe(false)
    expect(verifyHmacSha256(key, mac, data)).toBe(true)
  })
})

/**
 * Public vectors in files of their own, which the repository does not have: TEST_VECTORS names a folder with ed25519_test.json and
 * hmac_sha256_test.json of C2SP/wycheproof (testvectors_v1), and in structured-field-tests the files of httpwg/structured-field-tests.
 */
const FOLDER = process.env.TEST_VECTORS ?? ''

interface Wycheproof {
  numberOfTests: number
  testGroups: {
    publicKey?: { pk: string }
    tagSize?: number
    tests: { tcId: number; key?: string; msg: string; sig?: string; tag?: string; result: string }[]
  }[]
}

interface FieldTest {
  name: string
  header_type: 'dictionary' | 'list' | 'item'
  raw: string[]
  must_fail?: boolean
  can_fail?: boolean
}

describe.skipIf(FOLDER === '')('Public vectors', () => {
  const read = <T>(file: string) => JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as T
  const fromHex = (hex = '') => new Uint8Array(Buffer.from(hex, 'hex'))

  it('of Wycheproof for Ed25519 are each decided as there', async () => {
    const { numberOfTests, testGroups } = read<Wycheproof>('ed25519_test.json')
    const wrong: number[] = []
    let count = 0
    for (const { publicKey, tests } of testGroups)
      for (const { tcId, msg, sig, result } of tests) {
        const key = Buffer.from(publicKey?.pk ?? '', 'hex').toString('base64url')
        const isValid = await verifyEd25519(key, fromHex(sig), fromHex(msg))
        if (isValid !== (result === 'valid')) wrong.push(tcId)
        count += 1
      }
    expect(wrong).toEqual([])
    expect(count).toBe(numberOfTests)
  })

  it('of Wycheproof for HMAC-SHA-256 are each decided as there, but that a truncated MAC is none', () => {
    const { numberOfTests, testGroups } = read<Wycheproof>('hmac_sha256_test.json')
    const wrong: number[] = []
    let count = 0
    for (const { tagSize, tests } of testGroups)
      for (const { tcId, key, msg, tag, result } of tests) {
        const isValid = verifyHmacSha256(fromHex(key), fromHex(tag), fromHex(msg))
        if (isValid !== (result === 'valid' && tagSize === 256)) wrong.push(tcId)
        count += 1
      }
    expect(wrong).toEqual([])
    expect(count).toBe(numberOfTests)
  })

  it('of structured fields are each parsed or refused as there', () => {
    const parse = { dictionary: parseDictionary, list: parseList, item: parseItem }
    const files = readdirSync(join(FOLDER, 'structured-field-tests')).filter((file) =>
      file.endsWith('.json'),
    )
    const wrong: string[] = []
    for (const file of files)
      for (const test of read<FieldTest[]>(`structured-field-tests/${file}`)) {
        let isParsed = true
        try {
          parse[test.header_type](test.raw.join(', '))
        } catch {
          isParsed = false
        }
        if (test.must_fail === true ? isParsed : !isParsed && test.can_fail !== true)
          wrong.push(`${file}: ${test.name}`)
      }
    expect(files.length).toBeGreaterThan(10)
    expect(wrong).toEqual([])
  })
})
