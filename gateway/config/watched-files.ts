import { stat } from 'node:fs/promises'

const lookEveryMs = 250

/** Ends the watching. */
export type Watched = { stop(): void }

/**
 * Looks several times a second whether any of the files is another than before (or gone), and calls `changed` when all
 * have been the same for two looks: a file that is still being written may load and yet lack its last lines.
 */
export async function watchFiles(files: readonly string[], changed: () => Promise<void>): Promise<Watched> {
  let told = await stamp(files)
  let seen = told
  const look = async (): Promise<void> => {
    const now = await stamp(files)
    const settled = now === seen
    seen = now
    if (!settled || now === told) return
    told = now
    await changed()
  }
  // `changed` tells its owner itself what failed.
  const timer = setInterval(() => void look().catch(() => undefined), lookEveryMs)
  timer.unref()
  return { stop: () => clearInterval(timer) }
}

async function stamp(files: readonly string[]): Promise<string> {
  const stamps = files.map((file) =>
    stat(file).then(
      ({ mtimeMs, size, ino }) => `${mtimeMs}:${size}:${ino}`,
      () => 'gone',
    ),
  )
  return (await Promise.all(stamps)).join(' ')
}
