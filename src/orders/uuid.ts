/** A version 4 UUID has 122 random bits. */
const MIN_BITS = 122
/** Random text of this length has more distinct characters; counters and repetitions have fewer. */
const MIN_DISTINCT = 8

/** Alphabets from small to large: a text of one is taken to be made of it alone. */
const ALPHABETS: readonly (readonly [form: RegExp, bitsPerCharacter: number])[] = [
  [/^[0-9]*$/, Math.log2(10)],
  [/^[0-9a-f]*$/i, 4],
  [/^[0-9a-z]*$/, Math.log2(36)],
  [/^[0-9A-Z]*$/, Math.log2(36)],
  [/^[0-9A-Za-z]*$/, Math.log2(62)],
  [/^[\w-]*$/, 6],
]

/**
 * Whether a uuid can be unguessable: whether random text of its form has the entropy of a version 4 UUID. A party that
 * guesses the uuid of another wallet's order can take it first, or use it up on chain.
 */
export function canBeRandom(uuid: string): boolean {
  const text = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(uuid)
    ? uuid.replaceAll('-', '')
    : uuid
  const bits = ALPHABETS.find(([form]) => form.test(text))?.[1] ?? 0
  return text.length * bits >= MIN_BITS && new Set(text).size >= MIN_DISTINCT
}
