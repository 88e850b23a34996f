import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createGunzip, createGzip, type Gzip } from 'node:zlib'
import {
  ArchiveFault,
  type ArchiveFaultKind,
  type ArchiveFiles,
  type ArchiveHeader,
  type ArchiveTrailer,
  type ArchiveWriter,
  archiveName,
  FORMAT,
  type ReadArchive,
  type RowKind,
  readHeader,
  readRow,
  readTrailer,
  rowLine,
  type TakeRow,
} from './archive/format.ts'

/** No row is longer: one has at most a signed message, or an order with its events and transactions. */
const MAX_LINE = 64 * 2 ** 20

/** Archives as files. */
export const archiveFiles: ArchiveFiles = { write: openArchiveWriter, read: readArchive }

async function openArchiveWriter(
  folder: string,
  attempt: string,
  header: Omit<ArchiveHeader, 'format'>,
): Promise<ArchiveWriter> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const unfinished = join(folder, `archive-${attempt}.unfinished`)
  const file = await open(unfinished, 'w', 0o600)
  const gzip = createGzip({ level: 6 })
  const written = pump(gzip, file)
  // A disk that is full is found by the next write.
  written.catch(() => {})
  const hash = createHash('sha256')
  const rows: ArchiveTrailer['rows'] = {}
  const writeLine = async (line: string, isHashed = true) => {
    if (isHashed) hash.update(`${line}\n`)
    if (gzip.write(`${line}\n`)) return
    await Promise.race([new Promise((resolve) => gzip.once('drain', resolve)), written])
  }
  await writeLine(JSON.stringify({ format: FORMAT, ...header }))
  return {
    async write(row) {
      await writeLine(rowLine(row))
      rows[row.kind] = (rows[row.kind] ?? 0) + 1
    },
    async finish() {
      const trailer = { rows, digest: hash.digest('hex') }
      await writeLine(JSON.stringify(trailer), false)
      gzip.end()
      await written
      await file.sync()
      await file.close()
      const path = join(folder, archiveName(header.number, trailer.digest))
      await rename(unfinished, path)
      await syncFolder(folder)
      return path
    },
    async abandon() {
      gzip.destroy()
      await written.catch(() => {})
      await file.close()
      await rm(unfinished, { force: true })
    },
  }
}

/** Awaits each write, so that memory has one piece of the file. */
async function pump(gzip: Gzip, file: FileHandle): Promise<void> {
  for await (const piece of gzip) await file.writeFile(piece as Buffer)
}

/** A file whose name is not on disk is no file after a crash. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function readArchive(path: string, take: TakeRow = () => {}): Promise<ReadArchive> {
  const fault = (kind: ArchiveFaultKind, what: string) => new ArchiveFault(path, kind, what)
  const hash = createHash('sha256')
  const rows: ArchiveTrailer['rows'] = {}
  let header: ArchiveHeader | undefined
  let trailer: ArchiveTrailer | undefined
  for await (const line of linesOf(path)) {
    if (trailer !== undefined) throw fault('tampered', 'goes on behind its end')
    if (header === undefined) header = readHeader(line)
    else if (line.startsWith('{')) {
      trailer = readTrailer(line)
      if (trailer === undefined) throw fault('tampered', 'has a line that no archive has')
      checkTrailer(trailer, rows, hash, fault)
      continue
    } else {
      const row = readRow(line)
      if (row === undefined) throw fault('tampered', 'has a line that no archive has')
      rows[row.kind] = (rows[row.kind] ?? 0) + 1
      await take(row, header)
    }
    if (header === undefined) throw fault('not_an_archive', 'is no archive')
    hash.update(`${line}\n`)
  }
  if (header === undefined) throw fault('not_an_archive', 'is no archive: it is empty')
  if (trailer === undefined) throw fault('truncated', 'is cut off: its end is missing')
  return { header, trailer }
}

function checkTrailer(
  trailer: ArchiveTrailer,
  rows: ArchiveTrailer['rows'],
  hash: Hash,
  fault: (kind: ArchiveFaultKind, what: string) => ArchiveFault,
): void {
  const kinds = new Set([...Object.keys(rows), ...Object.keys(trailer.rows)]) as Set<RowKind>
  for (const kind of kinds)
    if (rows[kind] !== trailer.rows[kind])
      throw fault('tampered', `has ${rows[kind] ?? 0} of ${trailer.rows[kind] ?? 0} rows of a kind`)
  if (hash.copy().digest('hex') !== trailer.digest)
    throw fault('tampered', 'was changed: its digest is another one')
}

/** The lines of a compressed file. */
async function* linesOf(path: string): AsyncGenerator<string> {
  const file = createReadStream(path)
  const gunzip = createGunzip()
  file.once('error', (error) => gunzip.destroy(error))
  file.pipe(gunzip)
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const parts: string[] = []
  let length = 0
  try {
    for await (const piece of gunzip) {
      const lines = decoder.decode(piece as Buffer, { stream: true }).split('\n')
      for (const [at, part] of lines.entries()) {
        parts.push(part)
        length += part.length
        if (length > MAX_LINE) throw new ArchiveFault(path, 'not_an_archive', 'has an endless line')
        if (at === lines.length - 1) break
        yield parts.join('')
        parts.length = 0
        length = 0
      }
    }
  } catch (error) {
    throw asFault(path, error)
  } finally {
    file.destroy()
    gunzip.destroy()
  }
  if (length > 0) throw new ArchiveFault(path, 'truncated', 'is cut off in a line')
}

function asFault(path: string, error: unknown): unknown {
  if (error instanceof ArchiveFault) return error
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT') return new ArchiveFault(path, 'missing', 'is missing')
  if (code === 'Z_BUF_ERROR') return new ArchiveFault(path, 'truncated', 'is cut off')
  if (code === 'Z_DATA_ERROR')
    return new ArchiveFault(path, 'tampered', 'was changed, or is no gzip file')
  if (error instanceof TypeError)
    return new ArchiveFault(path, 'tampered', 'was changed: it is not UTF-8')
  return error
}
