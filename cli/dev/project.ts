import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * The folder of nats.conf and package.json. Compiled code stands one folder deeper than its source, so it is looked
 * for upwards from here.
 */
export const projectRoot: string = (() => {
  let folder = import.meta.dirname
  while (!existsSync(join(folder, 'nats.conf'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('nats.conf is missing: this is no whole Sluice')
    folder = parent
  }
  return folder
})()
