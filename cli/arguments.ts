import { parseArgs } from 'node:util'

import { nearest } from '../policy/suggest.ts'

/** A command's options by name: whether each takes a value, or several. All are strings until somebody checks them. */
export type OptionKinds = Readonly<Record<string, 'text' | 'flag' | 'list'>>

export type Arguments =
  | {
      ok: true
      text: Record<string, string>
      lists: Record<string, string[]>
      flags: Set<string>
      rest: string[]
    }
  | { ok: false; problem: string }

/** Options that everybody types short. */
const shortNames: Readonly<Record<string, string>> = { output: 'o', help: 'h', server: 's' }

/** Splits a command line. An option nobody knows is a problem, with the one that was probably meant. */
export function readArguments(args: readonly string[], kinds: OptionKinds): Arguments {
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(kinds).map(([name, kind]) => [
        name,
        {
          type: kind === 'flag' ? ('boolean' as const) : ('string' as const),
          ...(shortNames[name] === undefined ? {} : { short: shortNames[name] }),
        },
      ]),
    ),
    strict: false,
    tokens: true,
  })
  const text: Record<string, string> = {}
  const lists: Record<string, string[]> = {}
  const flags = new Set<string>()
  const rest: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional') rest.push(token.value)
    if (token.kind !== 'option') continue
    const kind = kinds[token.name]
    if (kind === undefined) return { ok: false, problem: unknownOption(token.rawName, Object.keys(kinds)) }
    if (kind === 'flag' && token.value !== undefined)
      return { ok: false, problem: `${token.rawName} takes no value` }
    if (kind !== 'flag' && token.value === undefined)
      return { ok: false, problem: `${token.rawName} needs a value` }
    if (kind === 'flag') flags.add(token.name)
    else if (kind === 'list') (lists[token.name] ??= []).push(String(token.value))
    else text[token.name] = String(token.value)
  }
  return { ok: true, text, lists, flags, rest }
}

function unknownOption(name: string, known: readonly string[]): string {
  const meant = nearest(name.replace(/^-+/, ''), known)
  return meant === undefined ? `unknown option ${name}` : `unknown option ${name}; did you mean --${meant}?`
}
