/** A failure that the command line itself reports: a code for machines, a sentence for people, an exit code. */
export class CommandError extends Error {
  override readonly name: string = 'CommandError'
  readonly code: string
  readonly exitCode: number
  readonly details: Record<string, unknown> | undefined

  constructor(
    code: string,
    message: string,
    { exitCode = 1, details }: { exitCode?: number; details?: Record<string, unknown> } = {},
  ) {
    super(message)
    this.code = code
    this.exitCode = exitCode
    this.details = details
  }
}

/** The command line is wrong: nothing was done. */
export class UsageError extends CommandError {
  override readonly name = 'UsageError'

  constructor(message: string) {
    super('USAGE', message, { exitCode: 2 })
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EDQUOT: 'the disk quota is used up',
  EEXIST: 'it exists already',
  EFBIG: 'it would be larger than a file may be',
  EISDIR: 'it is a folder',
  ENOENT: 'it does not exist',
  ENOSPC: 'no space is left on the device',
  EPIPE: 'its reader has closed it',
  EROFS: 'the file system is read-only',
}

/** The reason of a failed system call, in words. */
export function reasonOf(error: unknown): string {
  const { code = 'unknown' } = error as { code?: string }
  return REASONS[code] ?? code
}
