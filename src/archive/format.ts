/*
 * An archive is a file of lines, compressed with gzip: a header, a line for each row, and a trailer with the counts of the rows and
 * SHA-256 of every byte ahead of it, which is the archive's digest. Without its trailer, an archive is none.
 */

export const FORMAT = 'latchkey-archive 1'

/**
 * What a row is: a session, an event with the message that asked for it, the stretch of a wallet's chain that its events ahead of this row
 * are, another used message, an order with all that is of it, or an hour of a key's usage.
 */
export type RowKind = 'session' | 'event' | 'chain' | 'action' | 'order' | 'usage'

/** What an archive says of itself. */
export interface ArchiveHeader {
  format: typeof FORMAT
  /** From 1, without gaps. */
  number: number
  network: string
  /** ISO 8601: what it has ended before this moment. */
  before: string
  /** The digest of the archive before, hex; null for the first one. */
  previous: string | null
  /** ISO 8601: the hours of usage that it has; absent where it has none. */
  usage?: { from: string | null; through: string }
  /** Of a part of an archive: the only wallet whose events it has. */
  walletAddress?: string
}

/** What the end of an archive says of the rest. */
export interface ArchiveTrailer {
  rows: Partial<Record<RowKind, number>>
  /** Hex. */
  digest: string
}

export interface ArchiveRow {
  kind: RowKind
  /** JSON, as the database wrote it: a number in it may have more digits than JavaScript's have. */
  text: string
}

/** A row `chain`: where the events of a wallet begin and end. */
export interface ChainRow {
  walletAddress: string
  from: number
  through: number
  /** The hash ahead of the first event, and the one of the last, hex. */
  previous: string
  hash: string
}

/** Why a file is not the archive that it should be. */
export type ArchiveFaultKind = 'missing' | 'not_an_archive' | 'truncated' | 'tampered'

export class ArchiveFault extends Error {
  readonly kind: ArchiveFaultKind
  constructor(path: string, kind: ArchiveFaultKind, what: string) {
    super(`${path} ${what}`)
    this.name = 'ArchiveFault'
    this.kind = kind
  }
}

/**
 * The name of the file of an archive. It has the digest, so that no attempt, however late, writes over the file of another one or takes it
 * away.
 */
export function archiveName(number: number, digest: string): string {
  return `archive-${String(number).padStart(6, '0')}-${digest.slice(0, 16)}.jsonl.gz`
}

/** A file that is being written. */
export interface ArchiveWriter {
  write(row: ArchiveRow): Promise<void>
  /** Writes the trailer, has all of it on disk, and gives the file its name. Resolves to its path. */
  finish(): Promise<string>
  /** Leaves the file unfinished. */
  abandon(): Promise<void>
}

/** What was read of a whole archive. */
export interface ReadArchive {
  header: ArchiveHeader
  trailer: ArchiveTrailer
}

/** Receives the rows of an archive, in their order. */
export type TakeRow = (row: ArchiveRow, header: ArchiveHeader) => void | Promise<void>

/** How archives are written and read: src/archive-file.ts. */
export interface ArchiveFiles {
  /** Begins an archive in a folder. Until it is finished its file has a name of this attempt. */
  write(
    folder: string,
    attempt: string,
    header: Omit<ArchiveHeader, 'format'>,
  ): Promise<ArchiveWriter>
  /**
   * Reads an archive once, in bounded memory. Rejects with an `ArchiveFault` where the file is not whole: what was taken until then proves
   * nothing.
   */
  read(path: string, take?: TakeRow): Promise<ReadArchive>
}

const KINDS: readonly string[] = [
  'session',
  'event',
  'chain',
  'action',
  'order',
  'usage',
] satisfies RowKind[]

/** The row of a line. */
export function readRow(line: string): ArchiveRow | undefined {
  const [, kind = ''] = /^\["([a-z]+)",\{/.exec(line.slice(0, 20)) ?? []
  if (!KINDS.includes(kind) || !line.endsWith('}]')) return undefined
  return { kind: kind as RowKind, text: line.slice(kind.length + 4, -1) }
}

/** The header of an archive. */
export function readHeader(line: string): ArchiveHeader | undefined {
  const header = parse(line) as ArchiveHeader | undefined
  const isHeader =
    header?.format === FORMAT && Number.isSafeInteger(header.number) && header.number > 0
  return isHeader ? header : undefined
}

/** The trailer of an archive. */
export function readTrailer(line: string): ArchiveTrailer | undefined {
  const trailer = parse(line) as ArchiveTrailer | undefined
  const isTrailer = typeof trailer?.digest === 'string' && typeof trailer.rows === 'object'
  return isTrailer && trailer.rows !== null ? trailer : undefined
}

function parse(line: string): unknown {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

/** The line of a row. */
export function rowLine({ kind, text }: ArchiveRow): string {
  return `["${kind}",${text}]`
}
