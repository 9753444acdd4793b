import type { ConfValue } from './conf-read.ts'

export type ConfMap = { [key: string]: ConfValue }

/** The user who is there only while `sluice provision` runs. */
export const owner = 'owner'

/** The accounts of a configuration by name. */
export function accountsOf(conf: ConfMap): Map<string, ConfMap> {
  return new Map(Object.entries(mapOf(conf['accounts'])).map(([name, account]) => [name, mapOf(account)]))
}

/** The value if it is a map, else an empty one. */
export function mapOf(value: ConfValue | undefined): ConfMap {
  return typeof value === 'object' && !Array.isArray(value) ? value : {}
}

/** The value if it is a list, else an empty one. */
export function listOf(value: ConfValue | undefined): ConfValue[] {
  return Array.isArray(value) ? value : []
}
