import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, it, onTestFinished } from 'vitest'
import { lockFolder } from '../../src/node/lock.ts'

/** No Linux process has this number. */
const NOBODY = '4194305'
const PROCESSES = 4
const ROUNDS = 40

const LOCK = new URL('../../src/node/lock.ts', import.meta.url)
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

it.each([
  ['an empty folder', undefined],
  ['a lock whose process is gone', NOBODY],
  ['a lock that its process had no time to fill', ''],
])(`goes to one of ${PROCESSES} processes at once, ${ROUNDS} times: %s`, async (_, left) => {
  const folder = emptyFolder()
  const holders = Array.from({ length: PROCESSES }, () => startHolder(folder))
  const all = () => Promise.all(holders.map(({ next }) => next()))
  await all()
  for (let round = 0; round < ROUNDS; round++) {
    if (left !== undefined) writeFileSync(join(folder, 'lock'), left)
    const at = Date.now() + 20
    for (const { say } of holders) say(at)
    const said = await all()
    expect(said.filter((line) => line === 'holds')).toHaveLength(1)
    const winner = holders[said.indexOf('holds')]?.child.pid
    for (const line of said)
      expect(line).toBeOneOf([
        'holds',
        `The folder ${folder} is in use by process ${winner}. Stop it, or go away.`,
      ])
    expect(readdirSync(folder)).toEqual(['lock'])
    for (const { say } of holders) say('let go')
    await all()
  }
})

it('is taken over from a process that was killed', async () => {
  const folder = emptyFolder()
  const holder = startHolder(folder)
  await holder.next()
  holder.say(0)
  expect(await holder.next()).toBe('holds')
  expect(() => lockFolder(folder, 'go away')).toThrow(`in use by process ${holder.child.pid}`)
  const ended = new Promise((resolve) => holder.child.once('close', resolve))
  holder.child.kill('SIGKILL')
  await ended
  lockFolder(folder, 'go away')()
})

it('is taken over from a process that had our number, as in a container that starts again', () => {
  const folder = emptyFolder()
  writeFileSync(join(folder, 'lock'), String(process.pid))
  const unlock = lockFolder(folder, 'go away')
  expect(readFileSync(join(folder, 'lock'), 'utf8')).toBe(String(process.pid))
  unlock()
})

it('is refused to the process that holds it, and free again once it lets go', () => {
  const folder = emptyFolder()
  const unlock = lockFolder(folder, 'go away')
  expect(() => lockFolder(folder, 'go away')).toThrow(`in use by process ${process.pid}`)
  unlock()
  expect(readdirSync(folder)).toEqual([])
  lockFolder(folder, 'go away')()
})
