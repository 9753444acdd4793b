import type { Arguments } from '../cli/arguments.ts'
import { writeTable } from './document.ts'
import { policyTable, versionOf } from './policy-report.ts'
import { runPolicy, type PolicyFigures } from './policy.ts'
import { describeMachine } from './report.ts'

const defaultSizes = '10,100,1000,10000,100000'
const defaultPeerSizes = '10,100,1000,10000'
const defaultRounds = '9'
const peerWithinMs = 1_500

/** The policy suite as the command line asks for it. `beside` another suite, the figures are printed by that one. */
export async function benchPolicy(
  given: Extract<Arguments, { ok: true }>,
  beside: boolean,
  say: (line: string) => void,
): Promise<PolicyFigures> {
  const { text, flags } = given
  const figures = await runPolicy({
    sizes: numbers(text['sizes'] ?? defaultSizes),
    rounds: Number(text['rounds'] ?? defaultRounds),
    peerSizes: numbers(text['peer-sizes'] ?? defaultPeerSizes),
    peerWithinMs,
    say,
  })
  const machine = describeMachine()
  const table = await policyTable(figures, machine)
  if (flags.has('write')) await writeTable('policy', table)
  if (!flags.has('json')) console.log(`${table}\n`)
  else if (!beside) {
    const names = Object.keys(figures.peers)
    const versions = Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await versionOf(name)])),
    )
    console.log(
      JSON.stringify({ policy: figures, machine, versions: { node: process.versions.node, ...versions } }),
    )
  }
  return figures
}

function numbers(text: string): number[] {
  const found = text.split(',').map(Number)
  if (found.some((number) => !Number.isInteger(number) || number < 0 || number > 200_000))
    throw new Error(`${text} is no list of numbers of rules`)
  return found.filter((number) => number > 0)
}
