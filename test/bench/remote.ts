import { type ChildProcess, fork } from 'node:child_process'

/** A process of the bench, asked by name. */
export interface Remote<Calls> {
  call<Name extends keyof Calls & string>(
    name: Name,
    ...given: Calls[Name] extends (...given: infer Given) => unknown ? Given : never
  ): Promise<Calls[Name] extends (...given: never[]) => infer Answer ? Awaited<Answer> : never>
  stop(): Promise<void>
}

interface Question {
  id: number
  name: string
  given: unknown[]
}

interface Answer {
  id: number
  value?: unknown
  fault?: string
}

/** Starts a file as a process and waits until it answers questions. */
export async function startRemote<Calls>(
  file: URL,
  given: readonly string[] = [],
  execArgv: readonly string[] = [],
): Promise<Remote<Calls>> {
  const child = fork(file, given, {
    execArgv: [...execArgv],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const asked = new Map<number, (answer: Answer) => void>()
  let last = 0
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const ready = submitResultOf(0)
  child.on('message', (answer: Answer) => {
    asked.get(answer.id)?.(answer)
    asked.delete(answer.id)
  })
  void ended.then(() => {
    for (const [id, answer] of asked) answer({ id, fault: `${file.pathname} ended` })
  })
  await ready
  return {
    call(name, ...parameters) {
      last += 1
      const answer = submitResultOf(last)
      child.send({ id: last, name, given: parameters } satisfies Question)
      return answer as never
    },
    stop: () => stop(child, ended),
  }

  function submitResultOf(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      asked.set(id, ({ value, fault }) =>
        fault === undefined ? resolve(value) : reject(new Error(fault)),
      )
    })
  }
}

async function stop(child: ChildProcess, ended: Promise<void>): Promise<void> {
  if (child.connected) child.disconnect()
  const late = setTimeout(() => child.kill('SIGKILL'), 10_000)
  await ended
  clearTimeout(late)
}

/** Answers the questions of the process that started this one, and ends with it. */
export function answerCalls(calls: object, close: () => Promise<unknown> | undefined): void {
  const send = (answer: Answer) => process.send?.(answer)
  process.on('message', ({ id, name, given }: Question) => {
    const call = (calls as Record<string, (...given: unknown[]) => unknown>)[name]
    Promise.resolve()
      .then(() => call?.(...given))
      .then(
        (value) => send({ id, value }),
        (fault: unknown) => send({ id, fault: fault instanceof Error ? String(fault.stack) : '?' }),
      )
  })
  process.on('disconnect', () => {
    void Promise.resolve(close()).finally(() => process.exit(0))
  })
  send({ id: 0 })
}
