import { open } from 'node:fs/promises'
import { HEAD_EVENT, type KeepHead, logHeads } from '../audit/heads.ts'
import type { Log } from '../log.ts'

/**
 * Keeps heads in the log and, where a path is given, in a file of the same lines. Each line is on disk before the response that
 * names its head is sent. Rejects when the file cannot be appended to; a fault later on is logged, because the change is
 * committed.
 */
export async function openHeads(
  path: string | undefined,
  log: Log,
  now: () => number,
): Promise<KeepHead> {
  const keepInLog = logHeads(log)
  if (path === undefined) return keepInLog
  // Opened once here, so that a wrong path stops the start, and anew for each line, so that the file can be rotated.
  await appendDurably(path, '')
  return async (walletAddress, head) => {
    await keepInLog(walletAddress, head)
    const time = new Date(now()).toISOString()
    const line = JSON.stringify({ time, level: 'info', event: HEAD_EVENT, walletAddress, ...head })
    await appendDurably(path, `${line}\n`).catch(() => {
      log('error', 'audit_head_not_kept', { walletAddress, sequence: head.sequence })
    })
  }
}

/** One write with O_APPEND: lines of several processes do not mix. */
async function appendDurably(path: string, line: string): Promise<void> {
  const file = await open(path, 'a', 0o600)
  try {
    await file.write(line)
    await file.datasync()
  } finally {
    await file.close()
  }
}
