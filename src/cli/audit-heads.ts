import { existsSync } from 'node:fs'
import type { AuditHead, AuditHeadStore } from '../client/index.ts'
import { UsageError } from './errors.ts'
import { readJson, replaceFile } from './files.ts'

/** The heads of a file: by service, then by wallet. */
type HeadsOfFile = Record<string, Record<string, AuditHead>>

/** Keeps the heads of one service in a file. A file that does not exist is made with the first head. */
export function openHeadsFile(path: string, serviceUrl: string): AuditHeadStore {
  const service = serviceUrl.replace(/\/+$/, '')
  const read = () => readHeads(path)
  read()
  return {
    get: (walletAddress) => own(own(read(), service), walletAddress),
    set(walletAddress, head) {
      const heads = read()
      const ofService = { ...heads[service], [walletAddress]: head }
      replaceFile(path, `${JSON.stringify({ ...heads, [service]: ofService }, null, 2)}\n`)
    },
  }
}

/** A member of an object's own: the address of a wallet comes from a file, and may be `constructor`. */
function own<Value>(members: Record<string, Value> | undefined, name: string): Value | undefined {
  return members !== undefined && Object.hasOwn(members, name) ? members[name] : undefined
}

function readHeads(path: string): HeadsOfFile {
  if (!existsSync(path)) return {}
  const heads = readJson(path)
  if (typeof heads === 'object' && heads !== null && !Array.isArray(heads))
    return heads as HeadsOfFile
  throw new UsageError(`${path} is no file of heads`)
}
