import { argv } from 'node:process'
import { compilePolicy } from '../policy/compile.ts'
import { evaluate } from '../policy/evaluate.ts'
import { byPrecedence, peers, prepared, type Peer, type Prepared } from './policy-peers.ts'
import { makeWorkload } from './policy-workload.ts'

/** One engine at one size; `checked` decisions were the same as ours. */
export type PeerFigure = { readonly ns: number; readonly checked: number }
/** `withinMs` is processor time; when an engine has had it, the jobs that are left are not asked. */
export type PeerOrder = { readonly rules: number; readonly withinMs: number }
export type PeerWord =
  | { readonly type: 'figure'; readonly name: string; readonly figure: PeerFigure }
  | { readonly type: 'failed'; readonly why: string }
  | { readonly type: 'done' }

/** Runs all other engines at one size, in a process of its own: one of them is known to end the process that it is in. */
async function run({ rules, withinMs }: PeerOrder): Promise<void> {
  const { file, jobs } = makeWorkload(rules)
  const policy = compilePolicy([file], '')
  const places = new Map(byPrecedence(file).map(({ id }, at) => [id, at]))
  const wanted = jobs.map((job) => {
    const { matched } = evaluate(policy, job, { nowMs: 0, granted: [] }).decision
    return matched.toSorted((a, b) => (places.get(a) ?? 0) - (places.get(b) ?? 0))[0]
  })
  const asked = jobs.map(prepared)
  for (const peer of peers) say({ type: 'figure', name: peer.name, figure: await measure(peer) })
  say({ type: 'done' })

  async function measure(peer: Peer): Promise<PeerFigure> {
    const { name } = peer
    const decide = await peer.load(file)
    const warmUp = asked.slice(0, 3)
    for (const job of warmUp) await decide(job)
    // Processor time, as our own figures are. To compare the answers is part of it and costs next to nothing.
    const begin = process.cpuUsage()
    const workedMs = (): number => {
      const { user, system } = process.cpuUsage(begin)
      return (user + system) / 1e3
    }
    let checked = 0
    while (checked < asked.length && (checked % 16 !== 5 || workedMs() < withinMs)) {
      const answer = decide(asked[checked] as Prepared)
      const found = answer instanceof Promise ? await answer : answer
      if (found !== wanted[checked])
        throw new Error(`${name} at ${rules} rules: job ${checked} is ${found}, not ${wanted[checked]}`)
      checked++
    }
    const ns = workedMs() * 1e6
    return { ns: ns / checked, checked }
  }
}

function say(word: PeerWord): void {
  process.send?.(word)
}

await run(JSON.parse(argv[2] ?? '{}') as PeerOrder).catch((error: Error) =>
  say({ type: 'failed', why: error.message }),
)
process.disconnect()
