import { readFileSync, statSync } from 'node:fs'

type Environment = Readonly<Record<string, string | undefined>>

/** A hundred keys, with comments. */
const MAX_BYTES = 65_536

/**
 * The environment with the keys of `OPERATOR_KEYS_FILE` in `OPERATOR_PRIVATE_KEYS`: one key a line, and comments after a #. A file can be
 * a mounted secret, and is in no list of processes and no dump of an environment. Throws a sentence without a part of the file.
 */
export function withOperatorKeys(env: Environment): Environment {
  const path = env.OPERATOR_KEYS_FILE
  if (!path) return env
  if (env.OPERATOR_PRIVATE_KEYS)
    throw new Error('OPERATOR_KEYS_FILE: takes the place of OPERATOR_PRIVATE_KEYS; set one of them')
  return { ...env, OPERATOR_PRIVATE_KEYS: readKeys(path).join(',') }
}

function readKeys(path: string): string[] {
  const keys = read(path)
    .split(/[\r\n]+/)
    .map((line) => line.replace(/#.*$/, '').trim())
    .filter((line) => line !== '')
  if (keys.length > 0) return keys
  throw new Error(`OPERATOR_KEYS_FILE: ${path} has no key`)
}

function read(path: string): string {
  try {
    if (statSync(path).size <= MAX_BYTES) return readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new Error(`OPERATOR_KEYS_FILE: ${path} cannot be read: ${code}`, { cause: error })
  }
  throw new Error(`OPERATOR_KEYS_FILE: ${path} is longer than ${MAX_BYTES} bytes`)
}
