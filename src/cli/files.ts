import {
  closeSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { CommandError, reasonOf, UsageError } from './errors.ts'

/**
 * Reads a file of text. UTF-16 with a byte order mark is read as such, for Windows PowerShell's `>` writes it; the mark of
 * UTF-8 is left out. Neither is ambiguous, and what is signed or hashed is the text and not its bytes.
 */
export function readText(path: string): string {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${reasonOf(error)}`)
  }
  try {
    return new TextDecoder(encodingOf(bytes), { fatal: true }).decode(bytes)
  } catch {
    throw new UsageError(`${path} is not text in UTF-8, nor in UTF-16 with a byte order mark`)
  }
}

function encodingOf([first, second]: Uint8Array): string {
  if (first === 0xff && second === 0xfe) return 'utf-16le'
  if (first === 0xfe && second === 0xff) return 'utf-16be'
  return 'utf-8'
}

/** Reads a file of JSON. The refusal quotes nothing of it: it may be a secret that was named by mistake. */
export function readJson(path: string): unknown {
  const text = readText(path)
  try {
    return JSON.parse(text)
  } catch {
    const advice = text.includes('\0')
      ? 'it looks like UTF-16 without a byte order mark. Write it again with --out FILE, which no shell re-encodes'
      : 'read the file that --out FILE wrote'
    throw new UsageError(`${path} is not JSON: ${advice}`)
  }
}

/** Reads a secret, and the advice that its file needs. */
export function readSecretFile(path: string): { secret: string; advice?: string } {
  const secret = readText(path).trim()
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
