import { spawn } from 'node:child_process'
import { mkdtempSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, it, onTestFinished } from 'vitest'
import { lockFolder } from '../../src/db/folder-lock.ts'

const PROCESSES = 4
const ROUNDS = 20

const LOCK = new URL('../../src/db/folder-lock.ts', import.meta.url)
/** At a line with a time, waits for it and locks; at any other, lets go. Holds on until its input ends. */
const HOLDER = `
  import { createInterface } from 'node:readline'
  const { lockFolder } = await import('${LOCK}')
  let unlock
  createInterface(process.stdin).on('line', (line) => {
    if (line === 'let go') {
      unlock?.()
      unlock = undefined
      return console.log('free')
    }
    while (Date.now() < Number(line));
    try {
      unlock = lockFolder(process.argv[1], 'go away')
      console.log('holds')
    } catch (error) {
      console.log(error.message)
    }
  })
  console.log('ready')
`

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-lock-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

function startHolder(folder: string) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  return {
    child,
    next: async () => String((await lines.next()).value),
    say: (line: string | number) => void child.stdin.write(`${line}\n`),
  }
}

it(`goes to one of ${PROCESSES} processes at once, ${ROUNDS} times`, async () => {
  const folder = emptyFolder()
  const holders = Array.from({ length: PROCESSES }, () => startHolder(folder))
  const all = () => Promise.all(holders.map(({ next }) => next()))
  await all()
  for (let round = 0; round < ROUNDS; round++) {
    const at = Date.now() + 20
    for (const { say } of holders) say(at)
    const said = await all()
    expect(said.filter((line) => line === 'holds')).toHaveLength(1)
    for (const line of said)
      expect(line).toMatch(
        /^holds$|^The folder .* is in use by .*process.*\. Stop it, or go away\.$/,
      )
    for (const { say } of holders) say('let go')
    await all()
  }
})

it('is free as soon as its process was killed, and refused in a sentence until then', async () => {
  const folder = emptyFolder()
  const holder = startHolder(folder)
  await holder.next()
  holder.say(0)
  expect(await holder.next()).toBe('holds')
  expect(() => lockFolder(folder, 'go away')).toThrow(
    `The folder ${folder} is in use by process ${holder.child.pid}. Stop it, or go away.`,
  )
  const ended = new Promise((resolve) => holder.child.once('close', resolve))
  holder.child.kill('SIGKILL')
  await ended
  lockFolder(folder, 'go away')()
})

it('is refused to the process that holds it, and free again once it lets go', () => {
  const folder = emptyFolder()
  const unlock = lockFolder(folder, 'go away')
  expect(() => lockFolder(folder, 'go away')).toThrow(`in use by process ${process.pid}`)
  unlock()
  lockFolder(folder, 'go away')()
})

it('makes a folder that its owner alone can read', () => {
  const folder = join(emptyFolder(), 'data')
  const unlock = lockFolder(folder, 'go away')
  expect(statSync(folder).mode & 0o777).toBe(0o700)
  unlock()
})
