import { execFile, execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { latchkey, temporaryFolder } from './latchkey.ts'

const folder = temporaryFolder()
const run = promisify(execFile)

function isInstalled(shell: string): boolean {
  try {
    execFileSync(shell, ['-c', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Lists what each shell offers for the last of the words, with the script in its file. */
const SHELLS: Record<string, (file: string, words: readonly string[]) => Promise<string>> = {
  async bash(file, words) {
    const script = `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _latchkey; printf "%s\\n" "\${COMPREPLY[@]}"`
    return (await run('bash', ['-c', script, file, ...words])).stdout
  },
  // Outside of its line editor zsh has no completion: what the script hands to it is printed.
  async zsh(file, words) {
    const script = `compdef() { }; _files() { }
      compadd() { shift; print -rl -- "$@" }
      _describe() { for offer in "\${(@P)2}"; do [[ $offer == $PREFIX* ]] && print -r -- "\${offer%%:*}"; done }
      file=$1; shift; words=("$@"); CURRENT=$#; PREFIX=$words[-1]; source $file; _latchkey; true`
    return (await run('zsh', ['-f', '-c', script, 'zsh', file, ...words])).stdout
  },
  async fish(file, words) {
    const script = `source $argv[1]; complete -C $argv[2] | string replace -r '\\t.*' ''`
    return (await run('fish', ['--no-config', '-c', script, file, words.join(' ')])).stdout
  },
}

describe.each(Object.keys(SHELLS))('in %s', (shell) => {
  const file = join(folder, shell)
  const offers = async (...words: string[]) => {
    const out = await SHELLS[shell]?.(file, ['latchkey', ...words])
    return out?.split('\n').filter((line) => line !== '')
  }
  beforeAll(async () => {
    const { exitCode, out } = await latchkey(`completion ${shell}`)
    expect(exitCode).toBe(0)
    writeFileSync(file, out)
  })

  it.skipIf(!isInstalled(shell))('the script completes what the tree of commands has', async () => {
    expect(await offers('')).toEqual(expect.arrayContaining(['keys', 'orders', 'demo', 'help']))
    expect(await offers('keys', 'u')).toEqual(
      expect.arrayContaining(['update', 'usage', 'use-certificate']),
    )
    expect(await offers('keys', 'u')).toHaveLength(3)
    expect(await offers('keys', 'usage', '--')).toEqual(
      expect.arrayContaining(['--by', '--days', '--url', '--json']),
    )
    expect((await offers('keys', 'usage', '--by', ''))?.sort()).toEqual(['day', 'hour'])
    expect(await offers('--network', '')).toEqual(
      expect.arrayContaining(['mainnet', 'testnet', 'devnet']),
    )
  })

  it.skipIf(!isInstalled(shell))('the value of an option is not taken for a command', async () => {
    expect(await offers('--url', 'keys', 'o')).toEqual(['orders'])
    expect(await offers('--json', 'keys', 'rot')).toEqual(['rotate'])
  })
})

it('a script is one document with --json', async () => {
  const { out } = await latchkey('completion fish --json')
  expect(JSON.parse(out).script).toContain('complete -c latchkey')
})
