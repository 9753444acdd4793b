import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { readArguments } from './arguments.ts'
import { stopAsked } from './dev/stop-asked.ts'
import { approval } from './drill/scene-approval.ts'
import { care } from './drill/scene-care.ts'
import { bypass } from './drill/scene-bypass.ts'
import { constraints } from './drill/scene-constraints.ts'
import { decisions } from './drill/scene-decisions.ts'
import { cardNumber, output } from './drill/scene-output.ts'
import { tickets } from './drill/scene-ticket.ts'
import { trace } from './drill/scene-trace.ts'
import { startPrivateStack } from './drill/private-stack.ts'
import { createReport, type StepReport } from './drill/report.ts'
import { openStage, type Place } from './drill/stage.ts'
import { exitCodes } from './exit-codes.ts'

const help = `usage: sluice drill [--data-dir DIR] [--json]

Plays one high-risk workflow from end to end, with every refusal on the way, and shows the evidence: against the
sluice dev that runs in the data directory (default .sluice/dev), else against one of its own that is gone afterwards.
Exit code 0 only if every step holds.

  --json   {"ok", "trace_id", "steps": [{"name", "ok", "evidence"}]} on standard output`

const say = (line: string): void => console.error(line)

/** `sluice drill`, which is `npm run drill`. */
export async function run(args: string[]): Promise<number> {
  const read = readArguments(args, { 'data-dir': 'text', json: 'flag', help: 'flag' })
  if (!read.ok || read.rest.length > 0) {
    console.error(`${read.ok ? 'sluice drill takes options only' : read.problem}\n\n${help}`)
    return exitCodes.usage
  }
  if (read.flags.has('help')) {
    console.log(help)
    return exitCodes.ok
  }
  const json = read.flags.has('json')
  const dataDir = resolve(read.text['data-dir'] ?? (process.env['SLUICE_DATA_DIR'] || join('.sluice', 'dev')))
  const place = await running(dataDir)
  if (place !== undefined) {
    say(`drill: against the sluice dev in ${dataDir}`)
    return play(place, json, false)
  }
  say('drill: no sluice dev runs here, so one is started for the drill alone')
  const stop = stopAsked(process.env)
  const stack = await startPrivateStack(say)
  if (!stack.ok) {
    for (const line of stack.lines) say(line)
    return stack.code
  }
  try {
    return await Promise.race([play(stack.place, json, true), stop.then(() => exitCodes.failed)])
  } finally {
    await stack.close()
  }
}

/** `own`: the stack is the drill's, with rules that a demo does not have. */
async function play(place: Place, json: boolean, own: boolean): Promise<number> {
  const stage = await openStage(place)
  try {
    const report = createReport(json ? () => undefined : tick)
    await bypass(stage, report)
    await decisions(stage, report)
    await constraints(stage, report)
    await tickets(place, stage, report)
    await approval(stage, report, `the customer's card is ${cardNumber()} (${stage.traceId})`)
    if (own) await care(stage, report)
    await output(stage, report)
    const drawn = await trace(stage, report)
    const { steps } = report
    const ok = steps.every((step) => step.ok)
    if (json) console.log(JSON.stringify({ ok, trace_id: stage.traceId, steps }))
    else console.log(`\n${drawn}\n\n${summary(steps)}`)
    return ok ? exitCodes.ok : exitCodes.failed
  } finally {
    await stage.close()
  }
}

function tick({ name, ok, evidence }: StepReport): void {
  console.log(`${ok ? '✓' : '✗'} ${name}\n    ${evidence}`)
}

function summary(steps: readonly StepReport[]): string {
  const held = steps.filter(({ ok }) => ok).length
  return held === steps.length
    ? `all ${held} steps hold`
    : `${steps.length - held} of ${steps.length} steps FAILED`
}

/** The `sluice dev` of this data directory, if one runs and its gateway answers. */
async function running(dataDir: string): Promise<Place | undefined> {
  const text = await readFile(join(dataDir, 'ready.json'), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const place = JSON.parse(text) as Place & { readonly pid: number }
  if (!isAlive(place.pid)) return undefined
  const answer = await fetch(`${place.http_url}/readyz`).catch(() => undefined)
  await answer?.body?.cancel()
  return answer?.ok === true ? place : undefined
}

/** A `sluice dev` that was killed leaves its ready.json behind, and its port may be somebody else's by now. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
