import fc from 'fast-check'

/** Texts that parsers, databases and terminals have choked on. */
const NASTY = [
  '',
  ' ',
  '\u0000',
  'a\u0000b',
  '\ud83d',
  '\ude00a',
  '\ufeff',
  '\u202e',
  '\u2028',
  '😀'.repeat(40),
  'é',
  'e\u0301',
  'ß',
  '٣',
  '１',
  '0',
  '-0',
  '-1',
  '00',
  '1e3',
  '1e999',
  '0x10',
  'NaN',
  'Infinity',
  'null',
  'NULL',
  'undefined',
  'true',
  '{}',
  '[]',
  '{a,b}',
  '"',
  "'",
  "' OR '1'='1",
  '\\',
  '%',
  '%00',
  '%ZZ',
  '$1',
  '__proto__',
  'constructor',
  'toString',
  '../../etc/passwd',
  '<script>',
  '340282366920938463463374607431768211455',
  '340282366920938463463374607431768211456',
  '9007199254740993',
  '9'.repeat(400),
  'a'.repeat(36),
  'a'.repeat(37),
  'x'.repeat(5_000),
  '0000-01-01T00:00:00Z',
  '0001-01-01T00:00:00+10:00',
  '9999-12-31T23:59:59-10:00',
  '2024-02-30T00:00:00Z',
  '.stx',
  '*',
  'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM',
  'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.key-token-subnet',
  'SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7',
  '0'.repeat(130),
  'f'.repeat(130),
  `0x${'a'.repeat(130)}`,
]

/** Any text: nasty ones, noise, and code units that are no character. */
export const text = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...NASTY) },
  { weight: 2, arbitrary: fc.string({ maxLength: 40 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  {
    weight: 1,
    arbitrary: fc
      .array(fc.nat(0xffff), { maxLength: 20 })
      .map((units) => String.fromCharCode(...units)),
  },
)

/** Any JSON value, and what JSON.stringify would never write. */
export const json: fc.Arbitrary<unknown> = fc.oneof(
  { weight: 4, arbitrary: text },
  { weight: 2, arbitrary: fc.constantFrom(null, true, false, 0, -0, 1, -1, 0.5, 1e21, 1e308) },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      2 ** 53,
      Number.MAX_SAFE_INTEGER,
      Number.MIN_SAFE_INTEGER,
      8.64e15,
      8.64e15 + 1,
      4e12,
    ),
  },
  { weight: 1, arbitrary: fc.double() },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<unknown> },
  { weight: 1, arbitrary: fc.constantFrom([], {}, [[]], [null], { a: {} }) },
  { weight: 1, arbitrary: fc.nat(40).map((depth) => nest(depth)) },
)

const TIMES = [
  '0000-01-01T00:00:00Z',
  '0000-12-31T23:59:59-01:00',
  '0001-01-01T00:00:00+10:00',
  '0001-01-01T00:00:00Z',
  '9999-12-31T23:59:59-10:00',
  '9999-12-31T23:59:59Z',
  '-000001-01-01T00:00:00Z',
  '+010000-01-01T00:00:00Z',
  '2099-02-29T00:00:00Z',
  '2099-01-01T24:00:00Z',
  '2099-12-31T23:59:60Z',
  '2099-01-01T00:00:00',
  '2099-01-01T00:00Z',
  '2099-01-01T00:00:00.123456789Z',
  '2099-01-01T00:00:00+23:59',
  0,
  -1,
  8.64e15,
  8.64e15 + 1,
  4e12,
]
const AMOUNTS = [
  '0',
  '-1',
  '00',
  '1e3',
  '0.1',
  '.1',
  '1.',
  '340282366920938463463374607431768211456',
  1,
]
const NAMES = [
  'NULL',
  'null',
  '',
  '{}',
  'a"b',
  'a,b',
  '\u0000',
  'new',
  'a'.repeat(36),
  'a'.repeat(37),
]
const PRINCIPALS = [
  '.stx',
  '*',
  'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM',
  'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.usd-token',
  'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.größe',
  'SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7',
  'SN2QE43MMXFDMAT3TPRGQ38BQ50VSRMBRQ6B16W5J',
  '\u0000',
]
const SIGNATURES = ['0'.repeat(130), 'f'.repeat(130), 'a'.repeat(130), `0x${'1'.repeat(130)}`, '00']
/** Values that are nearly right for a member of that name. */
const KIN: Readonly<Record<string, readonly unknown[]>> = {
  validFrom: TIMES,
  validTo: TIMES,
  expiresAt: TIMES,
  timestamp: TIMES,
  amountIn: AMOUNTS,
  targetPrice: AMOUNTS,
  uuid: NAMES,
  keyId: NAMES,
  keyName: NAMES,
  owner: PRINCIPALS,
  recipient: PRINCIPALS,
  walletAddress: PRINCIPALS,
  inputToken: PRINCIPALS,
  outputToken: PRINCIPALS,
  conditionToken: PRINCIPALS,
  signature: SIGNATURES,
  messageSignature: SIGNATURES,
}

/** Names of members: those that mean something to JavaScript, and others. */
export const name = fc.oneof(
  fc.constantFrom('__proto__', 'constructor', 'toString', 'length', '', 'a', 'then', 'status'),
  text,
)

function nest(depth: number): unknown {
  let value: unknown = 1
  for (let at = 0; at < depth; at++) value = at % 2 === 0 ? [value] : { a: value }
  return value
}

/** Changes one text a little or much. */
export const textChange: fc.Arbitrary<(value: string) => string> = fc.oneof(
  fc.tuple(fc.nat(), text).map(([at, more]) => (value: string) => {
    const place = at % (value.length + 1)
    return value.slice(0, place) + more + value.slice(place)
  }),
  fc.tuple(fc.nat(), fc.nat(8)).map(([at, length]) => (value: string) => {
    const place = at % (value.length + 1)
    return value.slice(0, place) + value.slice(place + length)
  }),
  fc.tuple(fc.nat(), fc.nat(0x24f)).map(([at, unit]) => (value: string) => {
    const place = at % (value.length + 1)
    return value.slice(0, place) + String.fromCharCode(unit) + value.slice(place + 1)
  }),
  text.map((other) => () => other),
  fc.constantFrom<(value: string) => string>(
    (value) => value.toUpperCase(),
    (value) => value.toLowerCase(),
    (value) => value + value,
    (value) => ` ${value}`,
    (value) => `${value}\n`,
    (value) => `0x${value}`,
    (value) => value.split('').reverse().join(''),
    (value) => JSON.stringify(value),
  ),
)

/** Changes one place of a JSON object: a member changed, taken away, added, or given twice. */
export const objectChange: fc.Arbitrary<(value: object) => object> = fc.oneof(
  fc.tuple(fc.nat(), json).map(([at, other]) => (object: object) => {
    const names = Object.keys(object)
    return names.length === 0 ? object : { ...object, [names[at % names.length] ?? '']: other }
  }),
  fc.tuple(fc.nat(), textChange).map(([at, change]) => (object: object) => {
    const members = Object.entries(object)
    const [name, value] = members[at % Math.max(1, members.length)] ?? []
    return typeof value === 'string' ? { ...object, [name ?? '']: change(value) } : object
  }),
  fc.tuple(fc.nat(), fc.nat(), fc.nat(7)).map(([at, which, add]) => (object: object) => {
    const known = Object.keys(KIN)
    const names = add === 0 ? known : Object.keys(object).filter((name) => name in KIN)
    const name = names[at % Math.max(1, names.length)]
    const kin = KIN[name ?? ''] ?? []
    return name === undefined ? object : { ...object, [name]: kin[which % kin.length] }
  }),
  fc.nat().map((at) => (object: object) => {
    const members = Object.entries(object)
    members.splice(at % Math.max(1, members.length), 1)
    return Object.fromEntries(members)
  }),
  fc.tuple(name, json).map(
    ([more, value]) =>
      (object: object) =>
        // A member called __proto__ and not a prototype, as JSON.parse makes it.
        Object.defineProperty({ ...object }, more, { value, enumerable: true, configurable: true }),
  ),
)
