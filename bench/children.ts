import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** A process of the bench beside this one, and what it says. */
export type Child<Order extends object, Word extends { type: string }> = {
  pid: number
  order(order: Order): void
  /** The next word of this type that has not been waited for yet; rejects when the process ends or time is up. */
  word<Type extends Word['type']>(type: Type, timeoutMs: number): Promise<Extract<Word, { type: Type }>>
  /** Hears every word, before `word` does. */
  onWord(handle: (word: Word) => void): void
  stop(): Promise<void>
}

const stopGraceMs = 3_000

/** Starts `bench/<name>` with one argument, as JSON. It ends when its channel to us closes, however we end. */
export function startChild<Order extends object, Word extends { type: string }>(
  name: string,
  argument: object,
  execArgv: readonly string[] = [],
): Child<Order, Word> {
  const file = fileURLToPath(new URL(`./${name}.js`, import.meta.url))
  const child = fork(file, [JSON.stringify(argument)], {
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    execArgv: [...execArgv],
  })
  const heard: Word[] = []
  const handlers: ((word: Word) => void)[] = []
  const waiting = new Set<() => void>()
  let ended: string | undefined
  child.on('message', (word) => {
    for (const handle of handlers) handle(word as Word)
    heard.push(word as Word)
    for (const look of waiting) look()
  })
  const exited = new Promise<void>((resolve) => {
    child.once('exit', (code, signal) => {
      ended = `${name} ended with ${code ?? signal}`
      for (const look of waiting) look()
      resolve()
    })
  })
  return {
    pid: child.pid ?? 0,
    order: (order) => void child.send(order),
    onWord: (handle) => void handlers.push(handle),
    word: <Type extends Word['type']>(type: Type, timeoutMs: number) =>
      new Promise<Extract<Word, { type: Type }>>((resolve, reject) => {
        const done = (act: () => void): void => {
          clearTimeout(timer)
          waiting.delete(look)
          act()
        }
        const look = (): void => {
          const at = heard.findIndex((word) => word.type === type)
          const word = at < 0 ? undefined : heard.splice(at, 1)[0]
          if (word !== undefined) done(() => resolve(word as Extract<Word, { type: Type }>))
          else if (ended !== undefined) done(() => reject(new Error(ended)))
        }
        const timer = setTimeout(
          () => done(() => reject(new Error(`${name} did not say '${type}' within ${timeoutMs} ms`))),
          timeoutMs,
        )
        waiting.add(look)
        look()
      }),
    stop: async () => {
      if (ended === undefined) child.disconnect()
      const timer = setTimeout(() => child.kill('SIGKILL'), stopGraceMs)
      await exited
      clearTimeout(timer)
    },
  }
}

/** In the child: the argument, a way to speak, and the end when the parent is gone. */
export function parent<Argument, Order, Word extends object>(): {
  argument: Argument
  say: (word: Word) => void
  onOrder: (handle: (order: Order) => void) => void
} {
  process.once('disconnect', () => process.exit(0))
  return {
    argument: JSON.parse(process.argv[2] ?? '{}') as Argument,
    say: (word) => void process.send?.(word),
    onOrder: (handle) => void process.on('message', (order) => handle(order as Order)),
  }
}
