import { readKeys, type Keys } from './keys.ts'
import { watchFiles } from './watched-files.ts'

/** The keys of the file as it stands now; a file that cannot be read any more changes nothing but what `problem` says. */
export type Keyring = {
  readonly current: () => Keys
  /** Why the newest file is not in use, if it is not. */
  readonly problem: () => string | undefined
  stop(): void
}

const againAfterMs = 5_000

/** Reads the file, throws if it cannot; then reads it again whenever it changes. `onChange` hears the new keys. */
export async function openKeyring(file: string, onChange: (keys: Keys) => Promise<void>): Promise<Keyring> {
  let current = await readKeys(file)
  let problem: string | undefined
  let again: NodeJS.Timeout | undefined
  const read = async (): Promise<void> => {
    clearTimeout(again)
    try {
      current = await readKeys(file)
      problem = undefined
      await onChange(current)
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error)
      again = setTimeout(() => void read(), againAfterMs).unref()
    }
  }
  const watched = await watchFiles([file], read)
  return {
    current: () => current,
    problem: () => problem,
    stop: () => {
      watched.stop()
      clearTimeout(again)
    },
  }
}
