import { argv } from 'node:process'
import { compilePolicy } from '../policy/compile.ts'
import { evaluate } from '../policy/evaluate.ts'
import { byPrecedence, peers, prepared, type Peer, type Prepared } from './policy-peers.ts'
import { makeWorkload } from './policy-workload.ts'

/** One engine at one size; `checked` decisions were the same as ours. */
export type PeerFigure = { readonly ns: number; readonly checked: number }
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
    let ns = 0
    let checked = 0
    const startedMs = performance.now()
    while (checked < asked.length && (checked < 5 || performance.now() - startedMs < withinMs)) {
      const beginMs = performance.now()
      const answer = decide(asked[checked] as Prepared)
      const found = answer instanceof Promise ? await answer : answer
      ns += (performance.now() - beginMs) * 1e6
      if (found !== wanted[checked])
        throw new Error(`${name} at ${rules} rules: job ${checked} is ${found}, not ${wanted[checked]}`)
      checked++
    }
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
