import { setImmediate as nextTurn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { assemblePolicy, type PolicyParts } from '../../policy/compile.ts'
import { loadPolicyFiles, type LoadedPolicy, type PolicySource } from '../../policy/load.ts'
import type { Problem } from '../../policy/problem.ts'
import type { Derivation, Policy, Rule } from '../../policy/rule.ts'

/** What the loading thread says. */
export type LoadedChunk =
  | { readonly type: 'refused'; readonly problems: readonly Problem[] }
  | { readonly type: 'rules'; readonly rules: readonly Rule[] }
  | { readonly type: 'derivations'; readonly derivations: readonly Derivation[] }
  | { readonly type: 'end'; readonly head: Omit<PolicyParts, 'rules' | 'derivations'> }

/** Smaller policies are loaded faster than a thread begins. */
const bytesInPlaceMax = 20_000
/** Work on the index at a stretch; then the event loop has its turn. */
const stretchMs = 5
const workerBytesMax = 2_048

/**
 * Loads a policy while the gateway goes on deciding: text is read and checked in a thread of its own, and the index is made
 * here in stretches of a few milliseconds.
 */
export async function loadPolicyBeside(sources: readonly PolicySource[]): Promise<LoadedPolicy> {
  const bytes = sources.reduce((sum, { text }) => sum + text.length, 0)
  // Node runs TypeScript in no thread, so where the sources are run as they are there is only this one.
  if (bytes <= bytesInPlaceMax || import.meta.url.endsWith('.ts')) return loadPolicyFiles(sources)
  const parts = await partsFromThread(sources)
  return 'problems' in parts ? { ok: false, ...parts } : { ok: true, policy: await assembled(parts) }
}

function partsFromThread(
  sources: readonly PolicySource[],
): Promise<PolicyParts | { readonly problems: readonly Problem[] }> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: sources,
      resourceLimits: { maxOldGenerationSizeMb: workerBytesMax },
    })
    const rules: Rule[] = []
    const derivations: Derivation[] = []
    // Asked for one by one and a turn apart: what lies ready is taken in without a break, however much it is.
    const next = (): void => void setImmediate(() => worker.postMessage('next'))
    worker.on('message', (chunk: LoadedChunk) => {
      switch (chunk.type) {
        case 'refused':
          return resolve({ problems: chunk.problems })
        case 'rules':
          rules.push(...chunk.rules)
          return next()
        case 'derivations':
          derivations.push(...chunk.derivations)
          return next()
        case 'end':
          return resolve({ ...chunk.head, rules, derivations })
      }
    })
    next()
    worker.on('error', reject)
    worker.on('exit', (code) => reject(new Error(`the thread that loads the policy ended with ${code}`)))
  })
}

async function assembled(parts: PolicyParts): Promise<Policy> {
  const steps = assemblePolicy(parts)
  for (let untilMs = performance.now() + stretchMs; ;) {
    const step = steps.next()
    if (step.done === true) return step.value
    if (performance.now() < untilMs) continue
    await nextTurn()
    untilMs = performance.now() + stretchMs
  }
}
