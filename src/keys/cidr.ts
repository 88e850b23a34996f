/** An address range: its bytes, 4 or 16, and how many bits of them count. */
export interface Range {
  bytes: number[]
  prefix: number
}

/** Reads an IPv4 or IPv6 address or CIDR range. Undefined when it is none, or when it has bits beyond its prefix. */
export function parseRange(text: string): Range | undefined {
  const [address = '', prefixText, ...more] = text.split('/')
  if (more.length > 0) return undefined
  const bytes = address.includes(':') ? bytesOfV6(address) : bytesOfV4(address)
  if (bytes === undefined) return undefined
  const width = bytes.length * 8
  if (prefixText !== undefined && !/^(0|[1-9][0-9]{0,2})$/.test(prefixText)) return undefined
  const prefix = prefixText === undefined ? width : Number(prefixText)
  if (prefix > width) return undefined
  const hasMore = bytes.some((byte, at) => (byte & maskOf(prefix - at * 8)) !== byte)
  return hasMore ? undefined : { bytes, prefix }
}

/** A range as text of one form: every group written, so that equal ranges are equal texts. */
export function canonicalRange(text: string): string | undefined {
  const range = parseRange(text)
  if (range === undefined) return undefined
  const { bytes, prefix } = range
  if (bytes.length === 4) return `${bytes.join('.')}/${prefix}`
  const groups = Array.from({ length: 8 }, (_, at) =>
    (((bytes[2 * at] ?? 0) << 8) | (bytes[2 * at + 1] ?? 0)).toString(16),
  )
  return `${groups.join(':')}/${prefix}`
}

function maskOf(bits: number): number {
  if (bits >= 8) return 0xff
  return bits <= 0 ? 0 : (0xff << (8 - bits)) & 0xff
}

function bytesOfV4(text: string): number[] | undefined {
  const parts = text.split('.')
  const isWhole = parts.length === 4 && parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part))
  const bytes = parts.map(Number)
  return isWhole && bytes.every((byte) => byte <= 255) ? bytes : undefined
}

function bytesOfV6(text: string): number[] | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map((half, at) => groupsOf(half, at === halves.length - 1))
  if (head === undefined) return undefined
  if (halves.length === 1) return head.length === 16 ? head : undefined
  if (tail === undefined || head.length + tail.length > 14) return undefined
  return [...head, ...Array<number>(16 - head.length - tail.length).fill(0), ...tail]
}

/** The bytes of groups between colons; the last of an address may be written as IPv4. */
function groupsOf(text: string, isLast: boolean): number[] | undefined {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [at, group] of groups.entries()) {
    const dotted =
      group.includes('.') && isLast && at === groups.length - 1 ? bytesOfV4(group) : undefined
    if (dotted !== undefined) bytes.push(...dotted)
    else if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const value = Number.parseInt(group, 16)
      bytes.push(value >> 8, value & 0xff)
    } else return undefined
  }
  return bytes
}
