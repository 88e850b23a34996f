import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { type JsonReason, parseJson } from '../wire/json.ts'
import { CommandError, reasonOf, UsageError } from './errors.ts'

/** The longest file that is read as a whole: an audit of some 200,000 events. */
const MAX_BYTES = 268_435_456
/** The values and the nesting of its JSON. A value takes more memory than its text, by a factor of up to 20. */
const MAX_VALUES = 5_000_000
const MAX_DEPTH = 32
const MAX_SECRET_BYTES = 65_536

/**
 * Reads a file of text. UTF-16 with a byte order mark is read as such, for Windows PowerShell's `>` writes it; the mark of
 * UTF-8 is left out. Neither is ambiguous, and what is signed or hashed is the text and not its bytes.
 */
export function readText(path: string, maxBytes = MAX_BYTES): string {
  const bytes = readBytes(path, maxBytes)
  try {
    return new TextDecoder(encodingOf(bytes), { fatal: true }).decode(bytes)
  } catch {
    throw new UsageError(`${path} is not text in UTF-8, nor in UTF-16 with a byte order mark`)
  }
}

/** Stops at the limit, whatever size the file is said to have: a device or a pipe says 0, and may never end. */
function readBytes(path: string, maxBytes: number): Buffer {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const chunks: Buffer[] = []
    for (let size = 0; ; ) {
      const chunk = Buffer.allocUnsafe(READ_BYTES)
      const length = readSync(file, chunk)
      if (length === 0) return Buffer.concat(chunks, size)
      chunks.push(chunk.subarray(0, length))
      size += length
      if (size > maxBytes) break
    }
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${reasonOf(error)}`)
  } finally {
    if (file !== undefined) closeSync(file)
  }
  throw new UsageError(
    `${path} is longer than ${maxBytes} bytes, the most that is read of such a file`,
  )
}

const READ_BYTES = 1_048_576

function encodingOf([first, second]: Uint8Array): string {
  if (first === 0xff && second === 0xfe) return 'utf-16le'
  if (first === 0xfe && second === 0xff) return 'utf-16be'
  return 'utf-8'
}

/** What is wrong with a text, in words. The member twice matters most: of two, one reader shows the first and another proves the last. */
const FAULTS: Readonly<Record<JsonReason, string>> = {
  notJson: 'is not JSON: read the file that --out FILE wrote',
  duplicateMember: 'has an object with a member twice, which no export has',
  loneSurrogate: 'has half of a surrogate pair, which no export has',
  tooDeep: `is nested more than ${MAX_DEPTH} deep, as no export is`,
  tooManyValues: `has more than ${MAX_VALUES} values, the most that is read`,
}

/** Reads a file of I-JSON. The refusal quotes nothing of it: it may be a secret that was named by mistake. */
export function readJson(path: string): unknown {
  const text = readText(path)
  if (text.includes('\0'))
    throw new UsageError(
      `${path} is not JSON: it looks like UTF-16 without a byte order mark. Write it again with --out FILE, which no shell re-encodes`,
    )
  const json = parseJson(text, { maxDepth: MAX_DEPTH, maxValues: MAX_VALUES })
  if (!json.ok) throw new UsageError(`${path} ${FAULTS[json.reason]}`)
  return json.value
}

/** Reads a secret, and the advice that its file needs. */
export function readSecretFile(path: string): { secret: string; advice?: string } {
  const secret = readText(path, MAX_SECRET_BYTES).trim()
  const isOpenToOthers = process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0
  return isOpenToOthers
    ? { secret, advice: `Others can read ${path}: chmod 600 ${path}` }
    : { secret }
}

const RESERVED_BYTES = 512

/**
 * Writes what is made only once into a new file that only its owner can read. The file is opened and its space reserved
 * before `make` runs, so that a full disk is found while there is nothing to lose. When `make` rejects, no file is left; when
 * the text cannot be written all the same, `withdraw` names the error.
 */
export async function saveNew<Made>(
  path: string,
  make: () => Promise<Made>,
  textOf: (made: Made) => string,
  withdraw?: (made: Made, reason: string) => Promise<CommandError>,
): Promise<Made> {
  const file = openNew(path)
  try {
    writeAt(file, path, ' '.repeat(RESERVED_BYTES))
    const made = await make()
    try {
      writeAt(file, path, `${textOf(made)}\n`)
    } catch (error) {
      throw (await withdraw?.(made, (error as Error).message)) ?? error
    }
    return made
  } catch (error) {
    rmSync(path, { force: true })
    throw error
  } finally {
    closeSync(file)
  }
}

function openNew(path: string): number {
  try {
    return openSync(path, 'wx', 0o600)
  } catch (error) {
    throw new UsageError(`${path} cannot be made: ${reasonOf(error)}`)
  }
}

/** Makes the text the whole of the file, on disk. */
function writeAt(file: number, path: string, text: string): void {
  const bytes = Buffer.from(text)
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at, at)
    ftruncateSync(file, bytes.length)
    fsyncSync(file)
  } catch (error) {
    throw new CommandError('FILE_NOT_WRITTEN', `${path} cannot be written: ${reasonOf(error)}`)
  }
}

/**
 * Replaces a file as a whole: its reader gets the old text or the new one, also after a power failure. It keeps its mode; a new one is
 * for its owner alone. Of a link, the file that it leads to is replaced.
 */
export function replaceFile(path: string, text: string): void {
  const isThere = existsSync(path)
  const target = isThere ? realpathSync(path) : path
  const mode = isThere ? statSync(target).mode & 0o777 : 0o600
  const written = `${target}.${process.pid}.tmp`
  try {
    writeFileSync(written, text, { mode, flag: 'wx', flush: true })
    renameSync(written, target)
    syncFolder(dirname(target))
  } catch (error) {
    rmSync(written, { force: true })
    throw new CommandError('FILE_NOT_WRITTEN', `${path} cannot be written: ${reasonOf(error)}`)
  }
}

/** Makes a rename survive a power failure. Windows opens no folder. */
function syncFolder(folder: string): void {
  if (process.platform === 'win32') return
  const opened = openSync(folder, 'r')
  try {
    fsyncSync(opened)
  } finally {
    closeSync(opened)
  }
}
