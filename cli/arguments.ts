import { parseArgs } from 'node:util'

import { nearest } from '../policy/suggest.ts'

/** A command's options by name: whether each takes a value. All of them are strings until somebody checks them. */
export type OptionKinds = Readonly<Record<string, 'text' | 'flag'>>

export type Arguments =
  | { ok: true; text: Record<string, string>; flags: Set<string>; rest: string[] }
  | { ok: false; problem: string }

/** Splits a command line. An option nobody knows is a problem, with the one that was probably meant. */
export function readArguments(args: readonly string[], kinds: OptionKinds): Arguments {
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(kinds).map(([name, kind]) => [
        name,
        { type: kind === 'text' ? 'string' : 'boolean' } as const,
      ]),
    ),
    strict: false,
    tokens: true,
  })
  const text: Record<string, string> = {}
  const flags = new Set<string>()
  const rest: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional') rest.push(token.value)
    if (token.kind !== 'option') continue
    const kind = kinds[token.name]
    if (kind === undefined) return { ok: false, problem: unknownOption(token.rawName, Object.keys(kinds)) }
    if (kind === 'flag' && token.value !== undefined)
      return { ok: false, problem: `${token.rawName} takes no value` }
    if (kind === 'text' && token.value === undefined)
      return { ok: false, problem: `${token.rawName} needs a value` }
    if (kind === 'flag') flags.add(token.name)
    else text[token.name] = String(token.value)
  }
  return { ok: true, text, flags, rest }
}

function unknownOption(name: string, known: readonly string[]): string {
  const meant = nearest(name.replace(/^-+/, ''), known)
  return meant === undefined ? `unknown option ${name}` : `unknown option ${name}; did you mean --${meant}?`
}
