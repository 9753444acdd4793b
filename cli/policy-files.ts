import { readFile } from 'node:fs/promises'
import { loadPolicyFiles, type Policy, type PolicySource } from '../policy/load.ts'
import { parseJson } from '../policy/json.ts'
import type { Problem } from '../policy/problem.ts'
import { exitCodes } from './exit-codes.ts'
import type { Call } from './subcommand.ts'
import { visible } from './visible.ts'

/** What a command was given to read, or the exit code with which it ends after having said why. */
export type Read<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly code: number }

/** A policy of one or several files, loaded exactly as the gateway loads it. */
export async function readPolicy(call: Call, files: readonly string[]): Promise<Read<Policy>> {
  const sources: PolicySource[] = []
  for (const name of files) {
    const text = await readText(call, name)
    if (!text.ok) return text
    sources.push({ name, text: text.value })
  }
  const loaded = loadPolicyFiles(sources)
  if (loaded.ok) return { ok: true, value: loaded.policy }
  tellProblems(call, loaded.problems, files[0] ?? '')
  return { ok: false, code: exitCodes.badConfiguration }
}

/** A job file: JSON of a job, which may name `tenant` and `actor` as well. `-` is standard input. */
export async function readJobFile(call: Call, file: string): Promise<Read<unknown>> {
  const text =
    file === '-'
      ? { ok: true as const, value: Buffer.from(await call.terminal.input()).toString() }
      : await readText(call, file)
  if (!text.ok) return text
  const parsed = parseJson(Buffer.from(text.value))
  if (parsed.ok) return parsed
  call.terminal.err(visible(`${file}: ${parsed.problem.message}`))
  return { ok: false, code: exitCodes.usage }
}

export async function readText(call: Call, name: string): Promise<Read<string>> {
  try {
    return { ok: true, value: await readFile(name, 'utf8') }
  } catch (error) {
    call.terminal.err(`${visible(name)} cannot be read: ${(error as NodeJS.ErrnoException).code ?? 'failed'}`)
    return { ok: false, code: exitCodes.badConfiguration }
  }
}

/** Problems as lines on standard error, and with `-o json` as an object. */
export function tellProblems(call: Call, problems: readonly Problem[], file: string): void {
  if (call.json) call.terminal.out(JSON.stringify({ ok: false, problems }))
  for (const problem of problems) call.terminal.err(problemText(problem, file))
}

/** `policy.yaml:3:15: rules[0].decision: unknown decision "denny" (did you mean "deny"?)`. */
function problemText(problem: Problem, only: string): string {
  const place = [problem.file ?? only, problem.line, problem.column]
    .filter((part) => part !== undefined)
    .join(':')
  const { message, suggestion } = problem
  const hint =
    suggestion === undefined || message.includes('did you mean') ? '' : ` (did you mean "${suggestion}"?)`
  return visible(`${place}: ${message}${hint}`)
}
